"""Presence: the servers that deliver from one database know how many they are."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.store import servers
from octohooks_server.store.database import Database
from octohooks_server.waiting import wait_at_most

log = structlog.get_logger()

_SECONDS_BETWEEN_SIGNS_OF_LIFE = 2.0
# A server that died counts for no longer than this; one that is only slow says something before.
_LIVES_ON_FOR = timedelta(seconds=10)


class Presence:
    """Says now and then that this server delivers, and tells it how many do, with itself."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        counted: Callable[[int], None],
        tell_others: Callable[[], None],
    ) -> None:
        """`counted` is called with each count; `tell_others` lets the other servers count anew."""
        self._database = database
        self._clock = clock
        self._counted = counted
        self._tell_others = tell_others
        self._id = uuid4().hex
        self._wake = asyncio.Event()

    async def join(self) -> None:
        """Counts this server in."""
        await self._announce()
        self._tell_others()

    def look(self) -> None:
        """Counts anew, since a server has come or gone."""
        self._wake.set()

    async def run(self) -> None:
        """Goes on after `join` until it is cancelled."""
        while True:
            await wait_at_most(_SECONDS_BETWEEN_SIGNS_OF_LIFE, self._wake)
            self._wake.clear()
            try:
                await self._announce()
            except Exception as error:
                # Nobody's deliveries go on without the database, and the count stays what it was.
                expected = isinstance(error, OctohooksError)
                log.warning("presence_failed", exc_info=None if expected else error)
                await asyncio.sleep(_SECONDS_BETWEEN_SIGNS_OF_LIFE)

    async def leave(self) -> None:
        """Counts this server out."""
        async with self._database.write() as conn:
            await servers.remove(conn, id=self._id)
        self._tell_others()

    async def _announce(self) -> None:
        now = self._clock()
        async with self._database.write() as conn:
            count = await servers.announce(
                conn, id=self._id, now=now, live_until=now + _LIVES_ON_FOR
            )
        self._counted(count)
