"""SQLite: the embedded database of one server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from octohooks_server.store.database.base import (
    MOST_SECONDS_OF_WAITING,
    Database,
    away,
    disk_full,
)

_READERS = 4
_BUSY_TIMEOUT_MS = round(MOST_SECONDS_OF_WAITING * 1000)


class SqliteDatabase(Database):
    """A database in a file.

    One connection writes: a second writer could only wait for the first. It alone checkpoints,
    since SQLite before 3.51.3 can corrupt the log when two connections do.
    """

    def __init__(self, url: str | URL) -> None:
        self._url = make_url(url)
        self._writer = self._sqlite_engine("BEGIN IMMEDIATE", pool_size=1, reader=False)
        self._reader = self._sqlite_engine("BEGIN", pool_size=_READERS, reader=True)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.write`."""
        with _translated_errors():
            async with self._my_turn(), self._writer.begin() as conn:
                yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.read`."""
        with _translated_errors():
            async with self._reader.begin() as conn:
                yield conn

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        """See `Database.run_migration`."""
        async with self.write() as conn:
            await conn.run_sync(migrate)

    async def close(self) -> None:
        """Closes every connection; the log is folded into the database file."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Waits no longer than for a lock: those in front may each wait as long for theirs."""
        try:
            async with asyncio.timeout(_BUSY_TIMEOUT_MS / 1000):
                await self._turn.acquire()
        except TimeoutError:
            raise away() from None
        try:
            yield
        finally:
            self._turn.release()

    def _sqlite_engine(self, begin: str, *, pool_size: int, reader: bool) -> AsyncEngine:
        engine = create_async_engine(
            self._url.set(drivername="sqlite+aiosqlite"),
            poolclass=AsyncAdaptedQueuePool,
            pool_size=pool_size,
            max_overflow=0,
            # An error's text goes to the log, and parameters hold payloads and secrets.
            hide_parameters=True,
            pool_timeout=_BUSY_TIMEOUT_MS / 1000,
        )

        @event.listens_for(engine.sync_engine, "connect")
        def configure(dbapi_connection: Any, _record: Any) -> None:
            # The driver would begin transactions by itself, and deferred ones, which fail at once
            # when they turn into writes beside another writer.
            dbapi_connection.isolation_level = None
            cursor = dbapi_connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA temp_store = MEMORY")
            if reader:
                cursor.execute("PRAGMA wal_autocheckpoint = 0")
                cursor.execute("PRAGMA query_only = ON")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def begin_transaction(conn: Connection) -> None:
            conn.exec_driver_sql(begin)

        return engine


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turns the database's own failures into the domain's; a defect of ours stays what it is."""
    try:
        yield
    except NoConnectionInTime as error:
        raise away() from error
    except DBAPIError as error:
        text = str(error.orig).lower()
        if "disk is full" in text or "no space" in text or "disk i/o error" in text:
            raise disk_full() from error
        if isinstance(error, OperationalError) and (
            "locked" in text or "busy" in text or "unable to open" in text
        ):
            raise away() from error
        raise
