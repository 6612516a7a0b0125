"""`octohooks doctor`"""

from typing import Annotated

import typer

from octohooks_cli.connection import AsJson, Connection
from octohooks_cli.failures import end_with
from octohooks_cli.missing import missing_package

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor(
    context: typer.Context,
    clock_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Compare this machine's clock with the Date of what a URL answers."
        ),
    ] = None,
    as_json: AsJson = None,
) -> None:
    """Look at what the server needs, and say what is wrong and what to do.

    Give it the settings of the server. It looks at them, the database and its schema, the disk, the
    clock, certificates, the port, name servers and the outbound proxy; it changes nothing, and the
    server may run meanwhile or not. The exit code is 1 when there is a problem.
    """
    try:
        from octohooks_server.doctor import examine
    except ModuleNotFoundError as error:
        end_with(
            f"the package {missing_package(error)} is missing; this needs"
            " `pip install 'octohooks[server]'`."
        )
    import asyncio
    import json
    from dataclasses import asdict

    from rich.text import Text

    from octohooks_cli.output import Output
    from octohooks_cli.text import printable

    before = context.obj or Connection()
    output = Output(as_json=bool(as_json if as_json is not None else before.as_json))

    async def show() -> bool:
        has_problem = False
        async for finding in examine(clock_url=clock_url):
            has_problem |= finding.verdict == "problem"
            if output.as_json:
                output.json(json.dumps(asdict(finding), ensure_ascii=False))
            else:
                verdict = Text(f"{finding.verdict:<9}", style=_STYLES[finding.verdict])
                output.line(verdict + f"{finding.subject}: {printable(finding.text)}")
        return has_problem

    if asyncio.run(show()):
        raise typer.Exit(1)
