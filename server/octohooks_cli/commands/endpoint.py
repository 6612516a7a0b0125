"""`octohooks endpoint`"""

from functools import partial
from typing import Annotated

import typer

from octohooks_cli.options import (
    After,
    AllowMissing,
    ApplicationArgument,
    Before,
    Channels,
    Description,
    Disabled,
    EndpointArgument,
    EventTypes,
    Headers,
    Limit,
    Metadata,
    Overlap,
    RateLimit,
    RetrySchedule,
    Secret,
    SignatureType,
    Since,
    Uid,
    Until,
    given,
    mapping,
    names,
)
from octohooks_cli.session import Session, command

group = typer.Typer(no_args_is_help=True, help="The URLs that an application's messages go to.")

_COLUMNS = "id uid url event_types channels disabled"
_SECRET_COLUMNS = "secret signature_type create_time expire_time"
_URL_HELP = "Where messages are posted to."


@command(group, "create")
def create(
    session: Session,
    application: ApplicationArgument,
    url: Annotated[str, typer.Option("--url", help=_URL_HELP)],
    uid: Uid = None,
    description: Description = None,
    event_types: EventTypes = None,
    channels: Channels = None,
    headers: Headers = None,
    rate_limit: RateLimit = None,
    retry_schedule: RetrySchedule = None,
    signature_type: SignatureType = None,
    secret: Secret = None,
    disabled: Disabled = None,
    metadata: Metadata = None,
) -> None:
    """Make an endpoint. `octohooks endpoint secret` shows what it verifies signatures with."""
    values = given(
        uid=uid,
        description=description,
        event_types=names(event_types),
        channels=names(channels),
        headers=mapping(headers),
        rate_limit=rate_limit,
        retry_schedule=retry_schedule,
        signature_type=signature_type,
        disabled=disabled,
        metadata=mapping(metadata),
    )
    session.output.message(
        session.client.endpoint.create(application, url=url, secret=secret, **values)
    )


@command(group, "get")
def get(session: Session, application: ApplicationArgument, endpoint: EndpointArgument) -> None:
    """Show an endpoint."""
    session.output.message(session.client.endpoint.get(application, endpoint))


@command(group, "list")
def list_endpoints(session: Session, application: ApplicationArgument, limit: Limit = 50) -> None:
    """List the endpoints of an application, oldest first."""
    session.show_list(partial(session.client.endpoint.list, application), limit, _COLUMNS)


@command(group, "update")
def update(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    url: Annotated[str | None, typer.Option("--url", help=_URL_HELP)] = None,
    uid: Uid = None,
    description: Description = None,
    event_types: EventTypes = None,
    channels: Channels = None,
    headers: Headers = None,
    rate_limit: RateLimit = None,
    retry_schedule: RetrySchedule = None,
    signature_type: SignatureType = None,
    disabled: Disabled = None,
    metadata: Metadata = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Change what the options name, and nothing else."""
    changes = given(
        url=url,
        uid=uid,
        description=description,
        event_types=names(event_types),
        channels=names(channels),
        headers=mapping(headers),
        rate_limit=rate_limit,
        retry_schedule=retry_schedule,
        signature_type=signature_type,
        disabled=disabled,
        metadata=mapping(metadata),
    )
    session.output.message(
        session.client.endpoint.update(
            application, endpoint, allow_missing=allow_missing, **changes
        )
    )


@command(group, "delete")
def delete(session: Session, application: ApplicationArgument, endpoint: EndpointArgument) -> None:
    """Delete an endpoint; what is pending for it is cancelled."""
    session.client.endpoint.delete(application, endpoint)
    session.output.done(f"deleted {endpoint}")


@command(group, "secret")
def secret(session: Session, application: ApplicationArgument, endpoint: EndpointArgument) -> None:
    """Show the secrets that sign at this moment, newest first."""
    session.output.messages(session.client.endpoint.secret(application, endpoint), _SECRET_COLUMNS)


@command(group, "rotate-secret")
def rotate_secret(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    new_secret: Secret = None,
    overlap: Overlap = None,
) -> None:
    """Replace the secret. The old one goes on signing for the overlap, 24 hours unless given."""
    session.output.messages(
        session.client.endpoint.rotate_secret(
            application, endpoint, secret=new_secret, overlap=overlap
        ),
        _SECRET_COLUMNS,
    )


@command(group, "stats")
def stats(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    after: After = None,
    before: Before = None,
) -> None:
    """Count what happened at an endpoint, in the last 24 hours unless told."""
    session.output.message(
        session.client.endpoint.stats(application, endpoint, after=after, before=before)
    )


@command(group, "recover")
def recover(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    since: Since,
    until: Until = None,
) -> None:
    """Send the failed deliveries again. `octohooks job get` tells how far it is."""
    session.output.message(
        session.client.endpoint.recover(application, endpoint, since=since, until=until)
    )


@command(group, "replay")
def replay(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    since: Since,
    until: Until = None,
) -> None:
    """Send the messages that the endpoint never got. `octohooks job get` tells how far it is."""
    session.output.message(
        session.client.endpoint.replay(application, endpoint, since=since, until=until)
    )


@command(group, "send-example")
def send_example(
    session: Session,
    application: ApplicationArgument,
    endpoint: EndpointArgument,
    event_type: Annotated[
        str, typer.Option("--event-type", metavar="NAME", help="Whose first example to send.")
    ],
) -> None:
    """Send the first example of an event type to this endpoint alone, whatever its filters."""
    session.output.message(
        session.client.endpoint.send_example(application, endpoint, event_type=event_type)
    )
