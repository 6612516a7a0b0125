"""`octohooks job`"""

from typing import Annotated

import typer

from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True,
    help="The work that `octohooks endpoint recover` and `octohooks endpoint replay` begin.",
)


@command(group, "get")
def get(
    session: Session, job: Annotated[str, typer.Argument(metavar="JOB", help="The job's ID.")]
) -> None:
    """Show how far a job is."""
    session.output.message(session.client.job.get(job))
