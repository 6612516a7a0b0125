"""`octohooks delivery`"""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from octohooks_cli.options import (
    After,
    ApplicationOption,
    Before,
    Channels,
    EndpointArgument,
    EndpointOption,
    EventTypes,
    Limit,
    MessageArgument,
    MessageOption,
    Tags,
    given,
    mapping,
    names,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True, help="Messages on their way to endpoints: how each of them stands."
)

_COLUMNS = "message endpoint event_type status attempt_count last_attempt_time next_attempt_time"


class Status(StrEnum):
    """How a delivery stands."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


Statuses = Annotated[
    list[Status] | None,
    typer.Option("--status", help="Those that stand like this; repeatable."),
]


@command(group, "list")
def list_deliveries(
    session: Session,
    application: ApplicationOption = None,
    message: MessageOption = None,
    endpoint: EndpointOption = None,
    statuses: Statuses = None,
    event_types: EventTypes = None,
    channels: Channels = None,
    tags: Tags = None,
    after: After = None,
    before: Before = None,
    limit: Limit = 50,
) -> None:
    """List deliveries, newest message first."""
    filters = given(
        application=application,
        message=message,
        endpoint=endpoint,
        statuses=statuses,
        event_types=names(event_types),
        channels=names(channels),
        tags=mapping(tags),
        after=after,
        before=before,
    )
    session.show_list(partial(session.client.delivery.list, **filters), limit, _COLUMNS)


@command(group, "get")
def get(
    session: Session,
    message: MessageArgument,
    endpoint: EndpointArgument,
    application: ApplicationOption = None,
) -> None:
    """Show a delivery."""
    session.output.message(
        session.client.delivery.get(
            message=message, endpoint=endpoint, application=application or ""
        )
    )


@command(group, "resend")
def resend(
    session: Session,
    message: MessageArgument,
    endpoint: EndpointArgument,
    application: ApplicationOption = None,
) -> None:
    """Make one attempt at once, whatever the schedule says."""
    session.output.message(
        session.client.delivery.resend(
            message=message, endpoint=endpoint, application=application or ""
        )
    )
