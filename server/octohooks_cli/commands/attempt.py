"""`octohooks attempt`"""

from functools import partial
from typing import Annotated

import typer

from octohooks_cli.options import (
    After,
    ApplicationOption,
    Before,
    Channels,
    EndpointOption,
    EventTypes,
    Failed,
    Limit,
    MessageOption,
    Succeeded,
    Tags,
    given,
    mapping,
    names,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True, help="The HTTP requests that were made, and what came of them."
)

_COLUMNS = (
    "id start_time outcome response_status error_kind number duration event_type message endpoint"
)


@command(group, "list")
def list_attempts(
    session: Session,
    application: ApplicationOption = None,
    message: MessageOption = None,
    endpoint: EndpointOption = None,
    succeeded: Succeeded = False,
    failed: Failed = False,
    event_types: EventTypes = None,
    channels: Channels = None,
    tags: Tags = None,
    after: After = None,
    before: Before = None,
    limit: Limit = 50,
) -> None:
    """List attempts, newest first."""
    filters = given(
        application=application,
        message=message,
        endpoint=endpoint,
        outcomes=["succeeded"] * succeeded + ["failed"] * failed,
        event_types=names(event_types),
        channels=names(channels),
        tags=mapping(tags),
        after=after,
        before=before,
    )
    session.show_list(partial(session.client.attempt.list, **filters), limit, _COLUMNS)


@command(group, "get")
def get(
    session: Session,
    attempt: Annotated[str, typer.Argument(metavar="ATTEMPT", help="The attempt's ID.")],
) -> None:
    """Show an attempt with the headers and the body of its response."""
    session.output.message(session.client.attempt.get(attempt))
