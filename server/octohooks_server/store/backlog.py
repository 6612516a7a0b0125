"""What waits in the database, as whoever observes a server wants to know it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database import among
from octohooks_server.store.tables import deliveries, environments


@dataclass(frozen=True, slots=True)
class Due:
    """The deliveries that are due and that no server has claimed."""

    # Up to as many as were asked for.
    count: int
    # Since when the oldest of them has been due; None when there is none.
    since: datetime | None


async def count_due(conn: AsyncConnection, *, now: datetime, most: int) -> Due:
    """Counts due deliveries up to `most`; what is claimed falls due when its claim ends.

    Reads as many entries of an index as it counts.
    """
    due = (
        select(deliveries.c.due_at)
        .where(deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at)
        .limit(most)
        .subquery()
    )
    row = (await conn.execute(select(func.count(), func.min(due.c.due_at)).select_from(due))).one()
    return Due(*row)


async def newest_events(
    conn: AsyncConnection, environment_ids: Collection[str]
) -> Mapping[str, int]:
    """The number of the newest event of each of these environments."""
    rows = await conn.execute(
        select(environments.c.id, environments.c.last_sequence).where(
            among(environments.c.id, environment_ids)
        )
    )
    return {row.id: row.last_sequence for row in rows}
