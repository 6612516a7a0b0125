"""`octohooks audit`"""

from functools import partial
from typing import Annotated

import typer

from octohooks_cli.options import After, Before, Limit, given, names
from octohooks_cli.session import Session, command

group = typer.Typer(no_args_is_help=True, help="Who changed what.")

_COLUMNS = "create_time method resource application changed_fields api_key_name api_key peer"


@command(group, "list")
def list_events(
    session: Session,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            metavar="ID",
            help="One environment only; the operator's key shows all of them else.",
        ),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option("--actor", metavar="KEY_ID", help="Who did it: a key's ID, or `operator`."),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method", metavar="RPC", help="The call, such as UpdateEndpoint; repeatable."
        ),
    ] = None,
    resource: Annotated[
        str | None,
        typer.Option(
            "--resource",
            metavar="ID",
            help="The ID of what it was about, or of the application that this belongs to.",
        ),
    ] = None,
    after: After = None,
    before: Before = None,
    limit: Limit = 50,
) -> None:
    """List changes, and readings of secrets, newest first."""
    filters = given(
        environment=environment,
        actor=actor,
        methods=names(methods),
        resource=resource,
        after=after,
        before=before,
    )
    session.show_list(partial(session.client.audit.list, **filters), limit, _COLUMNS)
