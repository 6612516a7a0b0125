"""`octohooks operational-webhook`"""

from typing import Annotated

import typer

from octohooks_cli.options import (
    Description,
    Disabled,
    EventTypes,
    Headers,
    Limit,
    Secret,
    SignatureType,
    Uid,
    given,
    mapping,
    names,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True,
    help="Your own endpoints, which are told what happens to those of your customers.",
)

_COLUMNS = "id uid url event_types disabled create_time"
_URL_HELP = "Where notifications are posted to."

WebhookArgument = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="The operational webhook's ID or UID.")
]


@command(group, "create")
def create(
    session: Session,
    url: Annotated[str, typer.Option("--url", help=_URL_HELP)],
    uid: Uid = None,
    description: Description = None,
    event_types: EventTypes = None,
    headers: Headers = None,
    signature_type: SignatureType = None,
    secret: Secret = None,
    disabled: Disabled = None,
) -> None:
    """Make an operational webhook."""
    values = given(
        uid=uid,
        description=description,
        event_types=names(event_types),
        headers=mapping(headers),
        signature_type=signature_type,
        disabled=disabled,
    )
    session.output.message(
        session.client.operational_webhook.create(url=url, secret=secret, **values)
    )


@command(group, "get")
def get(session: Session, webhook: WebhookArgument) -> None:
    """Show an operational webhook."""
    session.output.message(session.client.operational_webhook.get(webhook))


@command(group, "list")
def list_webhooks(session: Session, limit: Limit = 50) -> None:
    """List the operational webhooks, oldest first."""
    session.show_list(session.client.operational_webhook.list, limit, _COLUMNS)


@command(group, "update")
def update(
    session: Session,
    webhook: WebhookArgument,
    url: Annotated[str | None, typer.Option("--url", help=_URL_HELP)] = None,
    uid: Uid = None,
    description: Description = None,
    event_types: EventTypes = None,
    headers: Headers = None,
    signature_type: SignatureType = None,
    disabled: Disabled = None,
) -> None:
    """Change what the options name, and nothing else."""
    changes = given(
        url=url,
        uid=uid,
        description=description,
        event_types=names(event_types),
        headers=mapping(headers),
        signature_type=signature_type,
        disabled=disabled,
    )
    session.output.message(session.client.operational_webhook.update(webhook, **changes))


@command(group, "delete")
def delete(session: Session, webhook: WebhookArgument) -> None:
    """Delete an operational webhook; what is pending for it is cancelled."""
    session.client.operational_webhook.delete(webhook)
    session.output.done(f"deleted {webhook}")


@command(group, "secret")
def secret(session: Session, webhook: WebhookArgument) -> None:
    """Show the secrets that sign at this moment, newest first."""
    session.output.messages(
        session.client.operational_webhook.secret(webhook),
        "secret signature_type create_time expire_time",
    )
