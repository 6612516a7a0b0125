"""`octohooks message`"""

from functools import partial
from typing import Annotated

import typer

from octohooks_cli.options import (
    After,
    ApplicationArgument,
    Before,
    Channels,
    EventTypes,
    Limit,
    MessageArgument,
    Payload,
    PayloadRetention,
    Tags,
    Uid,
    given,
    mapping,
    names,
)
from octohooks_cli.session import Session, command

group = typer.Typer(no_args_is_help=True, help="The webhooks to send.")

_COLUMNS = "id uid event_type channels tags create_time"


@command(group, "create")
def create(
    session: Session,
    application: ApplicationArgument,
    event_type: Annotated[
        str, typer.Option("--event-type", metavar="NAME", help="What it describes.")
    ],
    payload: Payload,
    uid: Uid = None,
    channels: Channels = None,
    tags: Tags = None,
    payload_retention: PayloadRetention = None,
    create_application: Annotated[
        bool,
        typer.Option(
            "--create-application", help="Make the application when there is none with this UID."
        ),
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Repeating the command with the same key sends nothing again."
        ),
    ] = None,
) -> None:
    """Send a message. Once this ends well, the message is on the server's disk and on its way."""
    values = given(
        uid=uid,
        channels=names(channels),
        tags=mapping(tags),
        payload_retention=payload_retention,
        inline_application={"uid": application} if create_application else None,
    )
    session.output.message(
        session.client.message.create(
            application,
            event_type=event_type,
            payload=payload,
            idempotency_key=idempotency_key,
            **values,
        )
    )


@command(group, "get")
def get(session: Session, application: ApplicationArgument, message: MessageArgument) -> None:
    """Show a message with its payload."""
    session.output.message(session.client.message.get(application, message))


@command(group, "list")
def list_messages(
    session: Session,
    application: ApplicationArgument,
    event_types: EventTypes = None,
    channels: Channels = None,
    tags: Tags = None,
    after: After = None,
    before: Before = None,
    limit: Limit = 50,
) -> None:
    """List the messages of an application, newest first."""
    filters = given(
        event_types=names(event_types),
        channels=names(channels),
        tags=mapping(tags),
        after=after,
        before=before,
    )
    session.show_list(partial(session.client.message.list, application, **filters), limit, _COLUMNS)


@command(group, "explain")
def explain(
    session: Session,
    application: ApplicationArgument,
    message: MessageArgument,
    limit: Limit = 50,
) -> None:
    """Tell which endpoints got the message, and which rule decided for each."""
    session.show_list(
        partial(session.client.message.explain, application, message),
        limit,
        "endpoint rule delivery.status delivery.attempt_count delivery.next_attempt_time",
    )


@command(group, "delete-payload")
def delete_payload(
    session: Session, application: ApplicationArgument, message: MessageArgument
) -> None:
    """Delete a message's payload and its attempts' response bodies, and cancel what is pending."""
    session.output.message(session.client.message.delete_payload(application, message))
