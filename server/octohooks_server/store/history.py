"""History: how far back an environment's events and the messages behind them are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.errors import NotFound
from octohooks_server.store.database import among
from octohooks_server.store.deliveries import Scope
from octohooks_server.store.tables import (
    attempts,
    cancellations,
    deliveries,
    environments,
    messages,
)

_LOGS = (attempts, cancellations)


@dataclass(frozen=True, slots=True)
class Mark:
    """The number of an event, 0 for none, and when it was recorded."""

    sequence: int
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Extent:
    """Which events of an environment there are."""

    newest: int
    # Every event up to this one has been deleted.
    cleaned: Mark
    # Those of deleted applications among the events up to this one have been deleted.
    purged: Mark

    def begin(self, scope: Scope) -> Mark:
        """The newest event behind which nothing is missing of what is about this scope.

        What has a scope of its own belongs to an application that is there, and misses nothing of
        those that are not.
        """
        if scope.application_id or scope.endpoint_id or scope.message_id:
            return self.cleaned
        return max(self.cleaned, self.purged, key=lambda mark: mark.sequence)


async def extent(conn: AsyncConnection, environment_id: str) -> Extent:
    """Which events of the environment there are, or NotFound."""
    row = (
        await conn.execute(
            select(
                environments.c.last_sequence,
                environments.c.cleaned_to,
                environments.c.cleaned_recorded_at,
                environments.c.purged_to,
                environments.c.purged_recorded_at,
            ).where(environments.c.id == environment_id)
        )
    ).first()
    if row is None:
        raise NotFound("environment", environment_id)
    return Extent(
        newest=row.last_sequence,
        cleaned=Mark(row.cleaned_to, row.cleaned_recorded_at),
        purged=Mark(row.purged_to, row.purged_recorded_at),
    )


async def next_environment(conn: AsyncConnection, *, after: str) -> str | None:
    """The ID of the first environment behind this ID, be it deleted; None behind the last one."""
    return await conn.scalar(
        select(environments.c.id)
        .where(environments.c.id > after)
        .order_by(environments.c.id)
        .limit(1)
    )


async def clean_events(
    conn: AsyncConnection, *, environment_id: str, before: datetime, limit: int
) -> int:
    """Deletes an environment's oldest events that were recorded before a time, and says how many.

    At most `limit`, in their order, so that what is left is always the whole rest of the log.
    """
    cleaned = (await extent(conn, environment_id)).cleaned.sequence
    oldest: list[tuple[int, datetime]] = []
    for log in _LOGS:
        rows = await conn.execute(
            select(log.c.sequence, log.c.recorded_at)
            .where(log.c.environment_id == environment_id, log.c.sequence > cleaned)
            .order_by(log.c.sequence)
            .limit(limit)
        )
        oldest += [(row.sequence, row.recorded_at) for row in rows]
    old = [event for event in sorted(oldest)[:limit] if event[1] < before]
    if not old:
        return 0
    last, recorded_at = old[-1]
    for log in _LOGS:
        await conn.execute(
            delete(log).where(
                log.c.environment_id == environment_id,
                log.c.sequence > cleaned,
                log.c.sequence <= last,
            )
        )
    # Last, since it holds up whoever records events of the environment until the commit.
    await conn.execute(
        update(environments)
        .where(environments.c.id == environment_id)
        .values(cleaned_to=last, cleaned_recorded_at=recorded_at)
    )
    return len(old)


async def clean_messages(
    conn: AsyncConnection, *, after: str, before: datetime, limit: int
) -> str | None:
    """Deletes messages accepted before a time, with their deliveries, where nothing is left to do.

    Looks at `limit` messages behind the ID `after`; answers the last one's ID, or None once it has
    looked at all that are old enough. A message stays while it has its payload, while a delivery
    waits or ended later than `before`, and while one of its attempts is kept.
    """
    rows = (
        await conn.execute(
            select(messages.c.id, messages.c.created_at, messages.c.payload.is_(None).label("bare"))
            .where(messages.c.id > after)
            .order_by(messages.c.id)
            .limit(limit)
        )
    ).all()
    old = {row.id for row in rows if row.created_at < before and row.bare}
    if old:
        kept = await _ids(
            conn,
            deliveries.c.message_id,
            among(deliveries.c.message_id, old),
            or_(
                deliveries.c.due_at.is_not(None),
                deliveries.c.ended_at.is_(None),
                deliveries.c.ended_at >= before,
            ),
        )
        kept |= await _ids(conn, attempts.c.message_id, among(attempts.c.message_id, old))
        await delete_messages(conn, sorted(old - kept))
    is_last = len(rows) < limit or rows[-1].created_at >= before
    return None if is_last else str(rows[-1].id)


async def delete_messages(conn: AsyncConnection, ids: Sequence[str]) -> None:
    """Deletes messages and their deliveries."""
    # In the order that all transactions keep, lest they deadlock.
    await conn.execute(
        select(messages.c.id)
        .where(among(messages.c.id, ids))
        .order_by(messages.c.id)
        .with_for_update()
    )
    await conn.execute(
        select(deliveries.c.message_id)
        .where(among(deliveries.c.message_id, ids))
        .order_by(deliveries.c.message_id, deliveries.c.endpoint_id)
        .with_for_update()
    )
    await conn.execute(delete(deliveries).where(among(deliveries.c.message_id, ids)))
    await conn.execute(delete(messages).where(among(messages.c.id, ids)))


async def _ids(
    conn: AsyncConnection, column: ColumnElement[str], *conditions: ColumnElement[Any]
) -> set[str]:
    return set(await conn.scalars(select(column).where(*conditions).distinct()))
