"""The audit log: who changed what, written in the transaction of the change."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from octohooks.v1.audit_pb2 import AuditEvent
from sqlalchemy import delete, insert, or_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import proto_values as values
from octohooks_server.store.database import among
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import audit_events

OPERATOR = "operator"
"""The actor of what was done with the operator's key."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events are asked for; what is empty or None restricts nothing."""

    environment_id: str | None = None
    # The ID of a key, or `OPERATOR`.
    actor: str = ""
    methods: Collection[str] = ()
    # What an event is about, or the application that this belongs to.
    resource: str = ""
    after: datetime | None = None
    before: datetime | None = None


async def add(conn: AsyncConnection, event: AuditEvent, *, now: datetime) -> None:
    """Writes an event, which happens `now`."""
    await conn.execute(
        insert(audit_events),
        {
            "id": event.id,
            "environment_id": event.environment,
            "api_key_id": event.api_key or None,
            "api_key_name": event.api_key_name,
            "method": event.method,
            "resource_type": event.resource_type,
            "resource": event.resource,
            "application_id": event.application or None,
            "changed_fields": list(event.changed_fields),
            "request_id": event.request_id,
            "peer": event.peer,
            "created_at": now,
        },
    )


async def list_page(
    conn: AsyncConnection, *, matching: AuditFilter, behind: str | None, limit: int
) -> Page[AuditEvent]:
    """Events, newest first, from those older than the one with the ID `behind` on."""
    table = audit_events.c
    query = select(audit_events)
    if matching.environment_id is not None:
        query = query.where(table.environment_id == matching.environment_id)
    if matching.actor == OPERATOR:
        query = query.where(table.api_key_id.is_(None))
    elif matching.actor:
        query = query.where(table.api_key_id == matching.actor)
    if matching.methods:
        query = query.where(among(table.method, matching.methods))
    if matching.resource:
        query = query.where(
            or_(table.resource == matching.resource, table.application_id == matching.resource)
        )
    if matching.after is not None:
        query = query.where(table.created_at >= matching.after)
    if matching.before is not None:
        query = query.where(table.created_at < matching.before)
    if behind is not None:
        query = query.where(table.id < behind)
    rows = await conn.execute(query.order_by(table.id.desc()).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["id"], _event)


async def clean(conn: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Deletes the oldest events from before a time, so many at the most; answers how many."""
    oldest = await conn.execute(
        select(audit_events.c.id, audit_events.c.created_at)
        .order_by(audit_events.c.id)
        .limit(limit)
    )
    ids = [row.id for row in oldest if row.created_at < before]
    if ids:
        await conn.execute(delete(audit_events).where(among(audit_events.c.id, ids)))
    return len(ids)


async def purge_environment(conn: AsyncConnection, *, environment_id: str, limit: int) -> bool:
    """Deletes events of a deleted environment, but for those about the environment itself, which
    its operator may ask for; so many at the most. False when there are none.
    """
    ids = list(
        await conn.scalars(
            select(audit_events.c.id)
            .where(
                audit_events.c.environment_id == environment_id,
                audit_events.c.resource_type != "environment",
            )
            .order_by(audit_events.c.id)
            .limit(limit)
        )
    )
    if ids:
        await conn.execute(delete(audit_events).where(among(audit_events.c.id, ids)))
    return bool(ids)


def _event(row: RowMapping) -> AuditEvent:
    return AuditEvent(
        id=row["id"],
        create_time=values.timestamp(row["created_at"]),
        environment=row["environment_id"],
        api_key=row["api_key_id"] or "",
        api_key_name=row["api_key_name"],
        method=row["method"],
        resource_type=row["resource_type"],
        resource=row["resource"],
        application=row["application_id"] or "",
        changed_fields=row["changed_fields"] or (),
        request_id=row["request_id"],
        peer=row["peer"],
    )
