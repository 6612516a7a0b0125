"""The database: engines, transactions, and everything in which SQLite and PostgreSQL differ."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from octohooks_server.errors import ResourceExhausted, Unavailable

_READERS = 4
_BUSY_TIMEOUT_MS = 5_000
# What callers are told when the database is away.
_COME_BACK_AFTER = timedelta(seconds=1)


class Database:
    """One database, with one visible transaction for each piece of work.

    `write()` and `read()` begin a transaction and commit it at the end of their block, or roll it
    back when the block raises. A database that is away or stays locked raises `Unavailable`, a full
    disk `ResourceExhausted`; nothing is stored then.

    On SQLite there is one connection that writes: a second writer could only wait for the first.
    It alone checkpoints, since SQLite before 3.51.3 can corrupt the log when two connections do.
    """

    def __init__(self, url: str | URL) -> None:
        self._url = make_url(url)
        self._writer = self._sqlite_engine("BEGIN IMMEDIATE", pool_size=1, reader=False)
        self._reader = self._sqlite_engine("BEGIN", pool_size=_READERS, reader=True)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may change things; on SQLite one comes after another."""
        with _translated_errors():
            async with self._my_turn(), self._writer.begin() as conn:
                yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""
        with _translated_errors():
            async with self._reader.begin() as conn:
                yield conn

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        """Waits no longer than for a lock: those in front may each wait as long for theirs."""
        try:
            async with asyncio.timeout(_BUSY_TIMEOUT_MS / 1000):
                await self._turn.acquire()
        except TimeoutError:
            raise _away() from None
        try:
            yield
        finally:
            self._turn.release()

    async def run_migration(self, migrate: Any) -> None:
        """Calls `migrate(connection)` with a synchronous connection, in one transaction."""
        async with self.write() as conn:
            await conn.run_sync(migrate)

    async def close(self) -> None:
        """Closes every connection; SQLite's log is folded into the database file."""
        await self._reader.dispose()
        await self._writer.dispose()

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


def insert_unless_taken(conn: AsyncConnection, table: Table) -> sqlite.Insert:
    """An INSERT that makes no row where a unique key is taken, instead of failing.

    With `returning()` it tells which rows were made.
    """
    return sqlite.insert(table).on_conflict_do_nothing()


class _translated_errors:  # noqa: N801 - reads as a statement
    """Turns the database's own failures into the domain's; a defect of ours stays what it is."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, NoConnectionInTime):
            raise _away() from error
        if isinstance(error, DBAPIError):
            text = str(error.orig).lower()
            if "disk is full" in text or "no space" in text or "disk i/o error" in text:
                raise ResourceExhausted(
                    "the server's disk is full; nothing was stored", reason="STORAGE_FULL"
                ) from error
            if isinstance(error, OperationalError) and (
                "locked" in text or "busy" in text or "unable to open" in text
            ):
                raise _away() from error


def _away() -> Unavailable:
    return Unavailable(
        "the database cannot be reached at the moment",
        reason="DATABASE_UNAVAILABLE",
        retry_after=_COME_BACK_AFTER,
    )
