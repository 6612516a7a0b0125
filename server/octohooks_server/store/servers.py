"""Servers: which ones deliver from this database at the moment."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database import insert_unless_taken
from octohooks_server.store.tables import servers


async def announce(conn: AsyncConnection, *, id: str, now: datetime, live_until: datetime) -> int:
    """Says that this server delivers, until a time; answers how many do, with this one."""
    await conn.execute(insert_unless_taken(conn, servers), {"id": id, "live_until": live_until})
    await conn.execute(update(servers).where(servers.c.id == id).values(live_until=live_until))
    count = await conn.scalar(
        select(func.count()).select_from(servers).where(servers.c.live_until > now)
    )
    assert isinstance(count, int)
    return count


async def remove(conn: AsyncConnection, *, id: str) -> None:
    """Says that this server delivers no more."""
    await conn.execute(delete(servers).where(servers.c.id == id))


async def remove_dead(conn: AsyncConnection, *, before: datetime) -> None:
    """Forgets those that have said nothing since a time."""
    await conn.execute(delete(servers).where(servers.c.live_until < before))
