"""Retirement: an endpoint that gets nothing any more takes what waits for it along."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import and_, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import cancelling
from octohooks_server.store.database import among, within
from octohooks_server.store.tables import endpoints

# How many deliveries one transaction cancels: enough for nearly every endpoint, and still short.
_AT_ONCE = 500

_RETIRING = select(endpoints.c.id, endpoints.c.environment_id, endpoints.c.retire_reason).where(
    # A literal, so that every database's planner sees that the partial index fits.
    endpoints.c.retire_reason != literal_column("0")
)


async def retire(
    conn: AsyncConnection, *, environment_id: str, endpoint_id: str, reason: int, now: datetime
) -> None:
    """Cancels what waits for an endpoint; a large remainder is left to `continue_one`."""
    cancelled = await cancelling.cancel_pending(
        conn,
        environment_id=environment_id,
        endpoint_id=endpoint_id,
        reason=reason,
        now=now,
        limit=_AT_ONCE,
    )
    await conn.execute(
        update(endpoints)
        .where(endpoints.c.environment_id == environment_id, endpoints.c.id == endpoint_id)
        .values(retire_reason=reason if cancelled == _AT_ONCE else 0)
    )


async def retire_later(
    conn: AsyncConnection, *, environment_id: str, endpoint_ids: Collection[str], reason: int
) -> None:
    """Leaves all that waits for these endpoints to `continue_one`."""
    these = and_(
        within(endpoints.c.environment_id, [environment_id]), among(endpoints.c.id, endpoint_ids)
    )
    # In the order that all transactions keep, lest they deadlock.
    await conn.execute(
        select(endpoints.c.id).where(these).order_by(endpoints.c.id).with_for_update()
    )
    await conn.execute(update(endpoints).where(these).values(retire_reason=reason))


async def is_due(conn: AsyncConnection) -> bool:
    """Whether there is an endpoint to go on with."""
    return await conn.scalar(select(_RETIRING.limit(1).exists())) or False


async def continue_one(conn: AsyncConnection, *, now: datetime) -> str | None:
    """Goes on with one endpoint that is being retired; answers its environment, or None."""
    row = (await conn.execute(_RETIRING.limit(1).with_for_update(skip_locked=True))).first()
    if row is None:
        return None
    await retire(
        conn,
        environment_id=row.environment_id,
        endpoint_id=row.id,
        reason=row.retire_reason,
        now=now,
    )
    return str(row.environment_id)
