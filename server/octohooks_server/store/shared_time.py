"""The time that servers on one database share, and the note that they keep about it there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import DateTime, func, literal, select, update

from octohooks_server.rules import shared_time
from octohooks_server.rules.shared_time import Note, Reading
from octohooks_server.store.database import Database, insert_unless_taken
from octohooks_server.store.tables import time_notes

log = structlog.get_logger()

_NAME = "shared"


@dataclass(frozen=True, slots=True)
class _Read:
    """What the clock and the note there showed, at which count of seconds, and what it makes."""

    shown: datetime
    counted: float
    note: Note | None
    made: Reading


class SharedTime:
    """The shared time as one server reads it; see `rules.shared_time`."""

    def __init__(self, database: Database, elapsed: Callable[[], float]) -> None:
        """`elapsed` counts seconds from any beginning and never goes back."""
        self._database = database
        self._elapsed = elapsed
        # What the clock showed last, when that is explained, and the count of seconds then.
        self._explained: tuple[datetime, float] | None = None
        self._last: _Read | None = None

    async def read(self) -> datetime:
        """The shared time now."""
        shown, note = await self._look()
        counted = self._elapsed()
        expected = None
        if self._explained is not None:
            then, count = self._explained
            expected = then + timedelta(seconds=counted - count)
        made = shared_time.read(shown, expected=expected, note=note)
        if not made.step:
            self._explained = shown, counted
        self._last = _Read(shown, counted, note, made)
        return made.shared

    async def note(self) -> None:
        """Leaves to the other servers what the last reading has to tell them."""
        last, self._last = self._last, None
        if last is None or last.made.note is None:
            return
        # Else the next reading has to explain the step, by the note of whoever was first.
        if await self._replace(last.note, last.made.note) and last.made.step:
            self._explained = last.shown, last.counted
            log.warning("database_clock_stepped", seconds=last.made.step.total_seconds())

    async def _look(self) -> tuple[datetime, Note | None]:
        clock = func.clock_timestamp(type_=DateTime(timezone=True))
        async with self._database.read() as conn:
            row: Any = (
                await conn.execute(
                    select(clock.label("shown"), time_notes.c.seen_at, time_notes.c.ahead)
                    .select_from(select(literal(1)).subquery())
                    .outerjoin(time_notes, time_notes.c.name == _NAME)
                )
            ).one()
        return row.shown, None if row.seen_at is None else Note(row.seen_at, row.ahead)

    async def _replace(self, old: Note | None, new: Note) -> bool:
        """Replaces a note; False when another server has done that meanwhile."""
        values = {"seen_at": new.seen_at, "ahead": new.ahead}
        async with self._database.write() as conn:
            if old is None:
                done = await conn.execute(
                    insert_unless_taken(conn, time_notes), {"name": _NAME, **values}
                )
            else:
                done = await conn.execute(
                    update(time_notes)
                    .where(time_notes.c.name == _NAME, time_notes.c.seen_at == old.seen_at)
                    .values(values)
                )
        return done.rowcount == 1
