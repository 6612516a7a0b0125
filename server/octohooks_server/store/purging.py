"""Purging: what is left of deleted applications and environments goes, a small step at a time."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import audit
from octohooks_server.store.database import among
from octohooks_server.store.history import delete_messages
from octohooks_server.store.tables import (
    applications,
    attempts,
    cancellations,
    deliveries,
    endpoint_secrets,
    endpoint_versions,
    endpoints,
    environments,
    event_types,
    jobs,
    messages,
)


class Purged(Enum):
    """How far a step got."""

    MORE = auto()
    """There is more to delete."""
    WAITS = auto()
    """Something is still under way in it, and has to end first."""
    ALL = auto()
    """Nothing is left."""


@dataclass(frozen=True, slots=True)
class DeletedApplication:
    """An application that was deleted."""

    id: str
    environment_id: str


async def next_application(
    conn: AsyncConnection, *, after: str, deleted_before: datetime
) -> DeletedApplication | None:
    """The first application behind this ID that was deleted before a time; None behind the last."""
    row = (
        await conn.execute(
            select(applications.c.id, applications.c.environment_id)
            .where(
                applications.c.id > after,
                applications.c.deleted_at.is_not(None),
                applications.c.deleted_at < deleted_before,
            )
            .order_by(applications.c.id)
            .limit(1)
        )
    ).first()
    return None if row is None else DeletedApplication(row.id, row.environment_id)


async def next_environment(
    conn: AsyncConnection, *, after: str, deleted_before: datetime
) -> str | None:
    """The ID of the first environment behind this ID that was deleted before a time, or None."""
    return await conn.scalar(
        select(environments.c.id)
        .where(environments.c.id > after, environments.c.deleted_at < deleted_before)
        .order_by(environments.c.id)
        .limit(1)
    )


async def purge_application(
    conn: AsyncConnection, *, application: DeletedApplication, limit: int
) -> Purged:
    """Deletes at most `limit` of the events, messages or endpoints of a deleted application.

    Events first, each step with the mark that tells watches of the environment how far some are
    missing; the application's own row goes last.
    """
    for log in (attempts, cancellations):
        if await _purge_events(conn, log, application, limit):
            return Purged.MORE
    message_ids = await _first(conn, messages, messages.c.application_id, application.id, limit)
    if message_ids:
        if await _is_any_due(conn, message_ids):
            return Purged.WAITS
        await delete_messages(conn, message_ids)
        return Purged.MORE
    if await _has_a_running_job(conn, application.id):
        return Purged.WAITS
    ids = await _first(conn, endpoints, endpoints.c.application_id, application.id, limit)
    if ids:
        for column in (
            endpoint_secrets.c.endpoint_id,
            endpoint_versions.c.endpoint_id,
            endpoints.c.id,
        ):
            await conn.execute(delete(column.table).where(among(column, ids)))
        return Purged.MORE
    await conn.execute(delete(applications).where(applications.c.id == application.id))
    return Purged.ALL


async def purge_environment(conn: AsyncConnection, *, id: str, limit: int) -> Purged:
    """Deletes at most `limit` of the things in a deleted environment; its own row goes last.

    The only environment's row stays, as the sign that there has been one. Of the audit log, what
    was done with the environment itself stays.
    """
    of_environment = await _first(conn, applications, applications.c.environment_id, id, 1)
    if of_environment:
        application = DeletedApplication(of_environment[0], id)
        purged = await purge_application(conn, application=application, limit=limit)
        return Purged.MORE if purged is Purged.ALL else purged
    names = list(
        await conn.scalars(
            select(event_types.c.name)
            .where(event_types.c.environment_id == id)
            .order_by(event_types.c.name)
            .limit(limit)
        )
    )
    if names:
        await conn.execute(
            delete(event_types).where(
                event_types.c.environment_id == id, among(event_types.c.name, names)
            )
        )
        return Purged.MORE
    if await audit.purge_environment(conn, environment_id=id, limit=limit):
        return Purged.MORE
    others = select(environments.c.id).where(environments.c.id != id).exists()
    await conn.execute(delete(environments).where(environments.c.id == id, others))
    return Purged.ALL


async def _purge_events(
    conn: AsyncConnection, log: Table, application: DeletedApplication, limit: int
) -> bool:
    """Deletes the oldest events of an application; False when there are none."""
    of_application = log.c.application_id == application.id
    rows = (
        await conn.execute(
            select(log.c.sequence, log.c.recorded_at)
            .where(of_application)
            .order_by(log.c.sequence)
            .limit(limit)
        )
    ).all()
    if not rows:
        return False
    last = rows[-1]
    await conn.execute(delete(log).where(of_application, log.c.sequence <= last.sequence))
    # Last, since it holds up whoever records events of the environment until the commit.
    await conn.execute(
        update(environments)
        .where(
            environments.c.id == application.environment_id,
            environments.c.purged_to < last.sequence,
        )
        .values(purged_to=last.sequence, purged_recorded_at=last.recorded_at)
    )
    return True


async def _first(
    conn: AsyncConnection, table: Table, owner: Any, owner_id: str, limit: int
) -> list[str]:
    """The IDs of the first rows that belong to something."""
    return list(
        await conn.scalars(
            select(table.c.id).where(owner == owner_id).order_by(table.c.id).limit(limit)
        )
    )


async def _is_any_due(conn: AsyncConnection, message_ids: list[str]) -> bool:
    due = select(deliveries.c.message_id).where(
        among(deliveries.c.message_id, message_ids), deliveries.c.due_at.is_not(None)
    )
    return await conn.scalar(due.limit(1)) is not None


async def _has_a_running_job(conn: AsyncConnection, application_id: str) -> bool:
    running = select(jobs.c.id).where(
        jobs.c.finished_at.is_(None), jobs.c.application_id == application_id
    )
    return await conn.scalar(running.limit(1)) is not None
