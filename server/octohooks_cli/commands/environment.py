"""`octohooks environment`"""

from typing import Annotated

import typer

from octohooks_cli.options import (
    Limit,
    Name,
    PayloadRetention,
    RetrySchedule,
    SignatureType,
    given,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True,
    help="Environments, each isolated from the others. These commands need the operator's key.",
)

_COLUMNS = "id name retry_schedule payload_retention create_time"

EnvironmentArgument = Annotated[
    str, typer.Argument(metavar="ENVIRONMENT", help="The environment's ID.")
]
EnforceSchemas = Annotated[
    bool | None,
    typer.Option(
        "--enforce-schemas/--no-enforce-schemas",
        help="Whether payloads must satisfy the schema of their event type.",
    ),
]


@command(group, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    retry_schedule: RetrySchedule = None,
    payload_retention: PayloadRetention = None,
    signature_type: SignatureType = None,
    enforce_schemas: EnforceSchemas = None,
) -> None:
    """Make an environment. It has no API key yet: `octohooks api-key create` makes one."""
    settings = given(
        retry_schedule=retry_schedule,
        payload_retention=payload_retention,
        default_signature_type=signature_type,
        enforce_schemas=enforce_schemas,
    )
    session.output.message(session.client.environment.create(name, **settings))


@command(group, "get")
def get(session: Session, environment: EnvironmentArgument) -> None:
    """Show an environment."""
    session.output.message(session.client.environment.get(environment))


@command(group, "list")
def list_environments(session: Session, limit: Limit = 50) -> None:
    """List the environments, oldest first."""
    session.show_list(session.client.environment.list, limit, _COLUMNS)


@command(group, "update")
def update(
    session: Session,
    environment: EnvironmentArgument,
    name: Name = None,
    retry_schedule: RetrySchedule = None,
    payload_retention: PayloadRetention = None,
    signature_type: SignatureType = None,
    enforce_schemas: EnforceSchemas = None,
) -> None:
    """Change what the options name, and nothing else."""
    changes = given(
        name=name,
        retry_schedule=retry_schedule,
        payload_retention=payload_retention,
        default_signature_type=signature_type,
        enforce_schemas=enforce_schemas,
    )
    session.output.message(session.client.environment.update(environment, **changes))


@command(group, "delete")
def delete(session: Session, environment: EnvironmentArgument) -> None:
    """Delete an environment with all that is in it. It cannot be undone."""
    session.client.environment.delete(environment)
    session.output.done(f"deleted {environment}")
