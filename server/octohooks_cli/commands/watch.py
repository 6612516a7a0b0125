"""`octohooks watch`"""

from datetime import datetime
from typing import Annotated

import typer

from octohooks_cli.failures import CommandFailed
from octohooks_cli.options import (
    ApplicationOption,
    EndpointOption,
    EventTypes,
    Failed,
    MessageOption,
    Succeeded,
    given,
    names,
    past,
)
from octohooks_cli.session import Session


def watch(
    session: Session,
    application: ApplicationOption = None,
    endpoint: EndpointOption = None,
    message: MessageOption = None,
    event_types: EventTypes = None,
    succeeded: Succeeded = False,
    failed: Failed = False,
    cancelled: Annotated[
        bool, typer.Option("--cancelled", help="Deliveries that were cancelled.")
    ] = False,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            parser=past,
            help="Where to begin: 2026-01-31T12:00, or how long ago, such as 1h; now unless given.",
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="Where to go on: the resume_token in a line of --json, with the same filters.",
        ),
    ] = None,
) -> None:
    """Show every attempt as it is recorded, a line each, until Ctrl-C.

    A cut connection is taken up again without missing any. With --json, each line holds a
    resume_token: --after goes on behind it another time, and may repeat some lines.
    """
    from octohooks import OutOfRange

    if since is not None and after is not None:
        raise typer.BadParameter("it excludes --since.", param_hint="--after")
    kinds = {"succeeded": succeeded, "failed": failed, "cancelled": cancelled}
    options = given(
        application=application,
        endpoint=endpoint,
        message=message,
        event_types=names(event_types),
        kinds=[kind for kind, wanted in kinds.items() if wanted],
        since=since,
        resume_token=after,
    )
    try:
        with session.client.attempt.watch(**options) as events:
            events.wait_until_live()
            session.output.remark(f"Watching at {session.target}; Ctrl-C ends it.")
            for event in events:
                session.output.event(event, events.resume_token)
    except OutOfRange as error:
        oldest = error.metadata.get("oldest_resume_token")
        if not oldest:
            raise
        raise CommandFailed(f"{error.message} What is kept begins with: --after {oldest}") from None
