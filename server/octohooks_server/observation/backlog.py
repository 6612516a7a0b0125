"""Readings of the database for the gauges: bounded, by index, and seldom."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.store import backlog
from octohooks_server.store.database import Database

log = structlog.get_logger()

_MOST_COUNTED = 10_000
_SECONDS_BETWEEN_READINGS = 5.0
_MOST_SECONDS_FOR_A_READING = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read."""

    # How many deliveries are due and unclaimed, up to 10,000.
    due: int
    oldest_due_age_seconds: float
    # How many events the watch that is furthest behind has not looked at.
    watch_lag: int


class Backlog:
    """What waits in the database, as of the last few seconds."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        watched: Callable[[], Mapping[str, int]],
    ) -> None:
        """`watched` answers up to which event all watches of an environment have looked, by ID."""
        self._database = database
        self._clock = clock
        self._watched = watched
        # None while the database does not answer.
        self.last: Reading | None = None
        self._read_again_at = 0.0
        self._turn = asyncio.Lock()

    def value(self, of: Callable[[Reading], float]) -> Callable[[], float | None]:
        """A value of the last reading, whenever it is asked for; None while there is none."""
        return lambda: None if self.last is None else of(self.last)

    async def refresh(self) -> None:
        """Reads anew, unless that was done a moment ago. A database that is away is no error."""
        time = asyncio.get_running_loop().time
        async with self._turn:
            if time() < self._read_again_at:
                return
            try:
                async with asyncio.timeout(_MOST_SECONDS_FOR_A_READING):
                    self.last = await self._read()
            except (OctohooksError, TimeoutError):
                self.last = None
            except Exception as error:
                log.error("backlog_not_read", exc_info=error)
                self.last = None
            self._read_again_at = time() + _SECONDS_BETWEEN_READINGS

    async def _read(self) -> Reading:
        now = self._clock()
        watched = self._watched()
        async with self._database.read() as conn:
            due = await backlog.count_due(conn, now=now, most=_MOST_COUNTED)
            newest = await backlog.newest_events(conn, list(watched)) if watched else {}
        age = (now - due.since).total_seconds() if due.since is not None else 0.0
        lags = (newest[id] - position for id, position in watched.items() if id in newest)
        return Reading(due.count, age, max(max(lags, default=0), 0))
