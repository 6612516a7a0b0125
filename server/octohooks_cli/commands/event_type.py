"""`octohooks event-type`"""

from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from octohooks_cli.options import (
    AllowMissing,
    Description,
    DocumentArgument,
    Examples,
    Limit,
    Metadata,
    Schema,
    documents,
    given,
    mapping,
)
from octohooks_cli.session import Session, command

group = typer.Typer(
    no_args_is_help=True, help="What messages describe, and which schema their payloads have."
)

_COLUMNS = "name description archived update_time"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Such as invoice.paid.")]
Archived = Annotated[
    bool | None,
    typer.Option("--archived/--not-archived", help="Whether new messages may not name it."),
]


@command(group, "create")
def create(
    session: Session,
    name: NameArgument,
    description: Description = None,
    schema: Schema = None,
    examples: Examples = None,
    metadata: Metadata = None,
) -> None:
    """Describe an event type."""
    values = given(
        description=description,
        schema=schema,
        examples=documents(examples),
        metadata=mapping(metadata),
    )
    session.output.message(session.client.event_type.create(name, **values))


@command(group, "get")
def get(session: Session, name: NameArgument) -> None:
    """Show an event type."""
    session.output.message(session.client.event_type.get(name))


@command(group, "list")
def list_event_types(
    session: Session,
    include_archived: Annotated[
        bool, typer.Option("--include-archived", help="List archived ones too.")
    ] = False,
    limit: Limit = 50,
) -> None:
    """List the event types by name."""
    session.show_list(
        partial(session.client.event_type.list, include_archived=include_archived), limit, _COLUMNS
    )


@command(group, "update")
def update(
    session: Session,
    name: NameArgument,
    description: Description = None,
    schema: Schema = None,
    examples: Examples = None,
    archived: Archived = None,
    metadata: Metadata = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Change what the options name, and nothing else."""
    changes = given(
        description=description,
        schema=schema,
        examples=documents(examples),
        archived=archived,
        metadata=mapping(metadata),
    )
    session.output.message(
        session.client.event_type.update(name, allow_missing=allow_missing, **changes)
    )


@command(group, "archive")
def archive(session: Session, name: NameArgument) -> None:
    """Archive an event type: new messages may not name it."""
    session.output.message(session.client.event_type.archive(name))


@command(group, "delete")
def delete(session: Session, name: NameArgument) -> None:
    """Remove the description of an event type; its messages and filters stay as they are."""
    session.client.event_type.delete(name)
    session.output.done(f"deleted {name}")


@command(group, "import-openapi")
def import_openapi(
    session: Session,
    document: DocumentArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
) -> None:
    """Describe every webhook of an OpenAPI 3.1 document. All are stored or none."""
    result = session.client.event_type.import_openapi(document, dry_run=dry_run)
    if session.output.as_json:
        session.output.message(result)
        return
    outcomes = {
        "created": [event_type.name for event_type in result.created],
        "updated": [event_type.name for event_type in result.updated],
        "unchanged": result.unchanged,
    }
    session.output.table(
        ["name", "outcome"],
        [[Text(name), Text(outcome)] for outcome, found in outcomes.items() for name in found],
    )
