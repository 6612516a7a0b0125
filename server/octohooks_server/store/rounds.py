"""Rounds: work that goes through IDs in their order, of which all servers together make one."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database import insert_unless_taken
from octohooks_server.store.tables import rounds

_AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Round:
    """How far a round has come."""

    # It goes on behind this ID; empty at its beginning.
    position: str
    # When it begins, or began.
    begins_at: datetime


async def get(conn: AsyncConnection, name: str) -> Round:
    """The round of this name that is under way or comes next; one that never was begins at once."""
    row = (await conn.execute(select(rounds).where(rounds.c.name == name))).first()
    return Round("", _AT_ONCE) if row is None else Round(row.position, row.begins_at)


async def store(conn: AsyncConnection, name: str, round: Round) -> None:
    """Notes how far the round of this name has come."""
    values = {"position": round.position, "begins_at": round.begins_at}
    await conn.execute(insert_unless_taken(conn, rounds), {"name": name, **values})
    await conn.execute(update(rounds).where(rounds.c.name == name).values(**values))
