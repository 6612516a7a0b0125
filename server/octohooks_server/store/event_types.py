"""Event types: what messages describe, and which schema their payloads have."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from octohooks.v1.event_type_pb2 import EventType
from sqlalchemy import delete, select, update
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.errors import AlreadyExists, NotFound
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import insert_unless_taken
from octohooks_server.store.paging import Page
from octohooks_server.store.tables import environments, event_types

# One event type can hold 700 KiB, so few are read ahead of those that are answered.
_MOST_READ_AHEAD = 4


@dataclass(frozen=True, slots=True)
class PayloadRules:
    """What a new message of an event type has to satisfy."""

    archived: bool
    # The schema that payloads must satisfy; None when there is none, or it only documents.
    enforced_schema: str | None


async def create(
    conn: AsyncConnection, *, environment_id: str, event_type: EventType, now: datetime
) -> EventType:
    """Describes an event type and answers it as it was stored; AlreadyExists by its name."""
    made = await conn.execute(
        insert_unless_taken(conn, event_types).returning(event_types.c.name),
        {
            "environment_id": environment_id,
            "name": event_type.name,
            **_columns(event_type),
            "created_at": now,
            "updated_at": now,
        },
    )
    if made.first() is None:
        raise AlreadyExists("event type", event_type.name)
    return await get(conn, environment_id=environment_id, name=event_type.name)


async def get(conn: AsyncConnection, *, environment_id: str, name: str) -> EventType:
    """The event type of this name, or NotFound."""
    event_type = await find(conn, environment_id=environment_id, name=name)
    if event_type is None:
        raise NotFound("event type", name)
    return event_type


async def find(
    conn: AsyncConnection, *, environment_id: str, name: str, for_update: bool = False
) -> EventType | None:
    """The event type of this name, or None."""
    query = select(event_types).where(*_named(environment_id, name))
    if for_update:
        query = query.with_for_update()
    row = (await conn.execute(query)).first()
    return None if row is None else _event_type(row._mapping)


async def find_rules(
    conn: AsyncConnection, *, environment_id: str, name: str
) -> PayloadRules | None:
    """What messages of this event type have to satisfy, or None when it is not described."""
    row = (
        await conn.execute(
            select(event_types.c.archived, event_types.c.schema, environments.c.enforce_schemas)
            .join(environments, environments.c.id == event_types.c.environment_id)
            .where(*_named(environment_id, name))
        )
    ).first()
    if row is None:
        return None
    return PayloadRules(row.archived, row.schema if row.enforce_schemas else None)


async def list_page(
    conn: AsyncConnection,
    *,
    environment_id: str,
    include_archived: bool,
    after: str | None,
    limit: int,
    most_bytes: int,
) -> Page[EventType]:
    """Event types by name: at most `limit`, and at most `most_bytes` unless the first has more."""
    query = select(event_types).where(event_types.c.environment_id == environment_id)
    if not include_archived:
        query = query.where(~event_types.c.archived)
    if after is not None:
        query = query.where(event_types.c.name > after)
    query = query.order_by(event_types.c.name).limit(limit + 1)

    def read(connection: Connection) -> Page[EventType]:
        shown: list[EventType] = []
        size = 0
        options = {"stream_results": True, "max_row_buffer": _MOST_READ_AHEAD}
        with connection.execute(query, execution_options=options) as rows:
            for row in rows.mappings():
                event_type = _event_type(row)
                size += event_type.ByteSize()
                if shown and (len(shown) == limit or size > most_bytes):
                    return Page(shown, shown[-1].name)
                shown.append(event_type)
        return Page(shown, None)

    return await conn.run_sync(read)


async def store_update(
    conn: AsyncConnection, *, environment_id: str, event_type: EventType, now: datetime
) -> EventType:
    """Stores every changeable field of an event type that is described."""
    await conn.execute(
        update(event_types)
        .where(*_named(environment_id, event_type.name))
        .values(**_columns(event_type), updated_at=now)
    )
    return await get(conn, environment_id=environment_id, name=event_type.name)


async def archive(conn: AsyncConnection, *, environment_id: str, name: str, now: datetime) -> bool:
    """Archives an event type; False when it was archived already, or is not described."""
    result = await conn.execute(
        update(event_types)
        .where(*_named(environment_id, name), ~event_types.c.archived)
        .values(archived=True, updated_at=now)
    )
    return result.rowcount > 0


async def remove(conn: AsyncConnection, *, environment_id: str, name: str) -> None:
    """Removes the description of an event type, or raises NotFound."""
    result = await conn.execute(delete(event_types).where(*_named(environment_id, name)))
    if result.rowcount == 0:
        raise NotFound("event type", name)


def _named(environment_id: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return event_types.c.environment_id == environment_id, event_types.c.name == name


def _columns(event_type: EventType) -> dict[str, Any]:
    return {
        "description": event_type.description,
        "schema": event_type.schema or None,
        "examples": list(event_type.examples),
        "archived": event_type.archived,
        "metadata": dict(event_type.metadata),
    }


def _event_type(row: RowMapping) -> EventType:
    return EventType(
        name=row["name"],
        description=row["description"],
        schema=row["schema"] or "",
        examples=row["examples"] or (),
        archived=row["archived"],
        metadata=row["metadata"] or {},
        create_time=values.timestamp(row["created_at"]),
        update_time=values.timestamp(row["updated_at"]),
    )
