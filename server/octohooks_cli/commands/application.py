"""`octohooks application`"""

import typer

from octohooks_cli.options import (
    AllowMissing,
    ApplicationArgument,
    Limit,
    Metadata,
    Name,
    RateLimit,
    Uid,
    given,
    mapping,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True, help="The consumers of webhooks, usually one per customer."
)

_COLUMNS = "id uid name rate_limit metadata create_time"


@command(group, "create")
def create(
    session: Session,
    uid: Uid = None,
    name: Name = None,
    rate_limit: RateLimit = None,
    metadata: Metadata = None,
) -> None:
    """Make an application."""
    values = given(uid=uid, name=name, rate_limit=rate_limit, metadata=mapping(metadata))
    session.output.message(session.client.application.create(**values))


@command(group, "get")
def get(session: Session, application: ApplicationArgument) -> None:
    """Show an application."""
    session.output.message(session.client.application.get(application))


@command(group, "list")
def list_applications(session: Session, limit: Limit = 50) -> None:
    """List the applications, oldest first."""
    session.show_list(session.client.application.list, limit, _COLUMNS)


@command(group, "update")
def update(
    session: Session,
    application: ApplicationArgument,
    uid: Uid = None,
    name: Name = None,
    rate_limit: RateLimit = None,
    metadata: Metadata = None,
    allow_missing: AllowMissing = True,
) -> None:
    """Change what the options name, and nothing else; an application that is missing is made."""
    changes = given(uid=uid, name=name, rate_limit=rate_limit, metadata=mapping(metadata))
    session.output.message(
        session.client.application.update(application, allow_missing=allow_missing, **changes)
    )


@command(group, "delete")
def delete(session: Session, application: ApplicationArgument) -> None:
    """Delete an application with its endpoints; what is pending for it is cancelled."""
    session.client.application.delete(application)
    session.output.done(f"deleted {application}")
