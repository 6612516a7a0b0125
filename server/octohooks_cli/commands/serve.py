"""`octohooks serve`"""

import os
from typing import Annotated

import typer

from octohooks_cli.failures import end_with
from octohooks_cli.missing import missing_package


def serve(
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="How many server processes share the port; more than 1 need PostgreSQL.",
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="[all|api|delivery]",
            help="Whether to take calls, to deliver, or both; one alone needs PostgreSQL.",
        ),
    ] = None,
) -> None:
    """Run the server until Ctrl-C.

    Its settings come from the environment: OCTOHOOKS_LISTEN (where it listens), OCTOHOOKS_DATA_DIR
    (where it keeps its data) and others, which docs/settings.md lists.
    """
    for name, value in (("WORKERS", workers), ("ROLE", role)):
        if value is not None:
            os.environ[f"OCTOHOOKS_{name}"] = str(value)
    try:
        from octohooks_server.__main__ import main
    except ModuleNotFoundError as error:
        end_with(
            f"the package {missing_package(error)} is missing; the server needs"
            " `pip install 'octohooks[server]'`."
        )
    main()
