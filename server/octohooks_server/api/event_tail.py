"""The newest events of an environment, read once for all of its watches."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from octohooks_server.store import attempts
from octohooks_server.store.attempts import Event
from octohooks_server.store.database import Database
from octohooks_server.store.feed import Feed

# Events that are remembered; a watch that is further behind reads from the database by itself.
_REMEMBERED = 2_000
_READ_AT_ONCE = 200
# The log is read after this although nothing was announced: an announcement can be lost.
_SECONDS_WITHOUT_NEWS = 2.0


class EventTail:
    """Follows the log of one environment from a position on.

    However many watches follow it, a committed event is read from the database once; a watch that
    falls behind what is remembered costs reads of its own and delays nobody.
    """

    def __init__(self, database: Database, feed: Feed, environment_id: str, position: int) -> None:
        self._database = database
        self._feed = feed
        self._environment_id = environment_id
        self._events: list[Event] = []
        # The number behind which the remembered events begin, and up to which the log was read.
        self._begins_behind = position
        self._read_to = position
        self._seen_count = -1
        self._read_again_at = 0.0
        self._turn = asyncio.Lock()

    @property
    def newest(self) -> int:
        """The number of the newest event that was seen."""
        return self._read_to

    async def after(self, position: int) -> Sequence[Event]:
        """The next events behind `position`, at most 200; none when the log ends there."""
        if position >= self._read_to:
            await self._follow(position)
        # Also where more has come meanwhile than is remembered.
        if position < self._begins_behind:
            return await self._read(position)
        start = bisect_right(self._events, position, key=lambda event: event.sequence)
        return self._events[start : start + _READ_AT_ONCE]

    async def _follow(self, position: int) -> None:
        async with self._turn:
            if position > self._read_to:
                # Those that follow are further behind than what a newer one has seen: the tail goes
                # on from there, and they read for themselves.
                self._events.clear()
                self._begins_behind = self._read_to = position
            count = self._feed.count(self._environment_id)
            seconds = asyncio.get_running_loop().time()
            is_news = count != self._seen_count or seconds >= self._read_again_at
            if position < self._read_to or not is_news:
                return
            events = await self._read(self._read_to)
            if len(events) < _READ_AT_ONCE:
                # All that was announced before the read has been read.
                self._seen_count = count
                self._read_again_at = seconds + _SECONDS_WITHOUT_NEWS
            self._events.extend(events)
            if events:
                self._read_to = events[-1].sequence
            surplus = len(self._events) - _REMEMBERED
            if surplus > 0:
                self._begins_behind = self._events[surplus - 1].sequence
                del self._events[:surplus]

    async def _read(self, position: int) -> Sequence[Event]:
        async with self._database.read() as conn:
            return await attempts.read_events(
                conn, environment_id=self._environment_id, after=position, limit=_READ_AT_ONCE
            )
