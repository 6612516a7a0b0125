"""Puts secrets under the newest encryption key once a server has been given one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import CannotOpen, Keyring
from octohooks_server.store import instance, resealing
from octohooks_server.store.database import Database, erasing_what_is_replaced

log = structlog.get_logger()

_ROWS_AT_ONCE = 200


class Resealing:
    """One walk over all secrets in the database, which seals them by the keyring that it is given.

    A walk that is cut off and made again goes on with what is left.
    """

    def __init__(self, database: Database, *, seals: Keyring) -> None:
        self._database = database
        self._seals = seals
        self._position: resealing.Position | None = resealing.Position()
        self._facts_are_left = True
        self.count = 0
        self.left: list[str] = []

    async def step(self) -> bool:
        """One transaction's worth of it; answers whether there is more."""
        if self._position is None:
            return False
        if self._facts_are_left:
            async with self._erasing() as conn:
                try:
                    self.count += await instance.reseal(conn, seals=self._seals)
                except CannotOpen as error:
                    self.left.append(str(error))
            self._facts_are_left = False
            return True
        async with self._database.read() as conn:
            found = await resealing.find_some(
                conn, self._position, seals=self._seals, limit=_ROWS_AT_ONCE
            )
        if found is None:
            self._position = None
            if self.count or self.left:
                log.info("secrets_resealed", key=self._seals.newest, count=self.count)
            for problem in self.left:
                log.error("secret_left", reason=problem)
            return False
        async with self._erasing() as conn:
            done = await resealing.reseal(conn, found, seals=self._seals)
        self._position = found.then
        self.count += done.count
        self.left.extend(done.left)
        return True

    @asynccontextmanager
    async def _erasing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that leaves no copy of what was plain in the file."""
        async with self._database.write() as conn, erasing_what_is_replaced(conn):
            yield conn
