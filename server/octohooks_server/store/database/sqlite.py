"""SQLite: the embedded database of one server."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import QueuePool

from octohooks_server.rules.keyring import Keyring
from octohooks_server.store.database.base import (
    MOST_SECONDS_OF_WAITING,
    Database,
    T,
    Work,
    away,
    disk_full,
    told_errors,
)
from octohooks_server.store.database.threads import ThreadedConnection
from octohooks_server.store.sealing import KEYRING, NO_KEYS

_READERS = 4
_BUSY_TIMEOUT_MS = round(MOST_SECONDS_OF_WAITING * 1000)


class SqliteDatabase(Database):
    """A database in a file.

    One connection writes: a second writer could only wait for the first. It alone checkpoints,
    since SQLite before 3.51.3 can corrupt the log when two connections do.
    """

    def __init__(self, url: str | URL, *, keyring: Keyring = NO_KEYS) -> None:
        self._url = make_url(url).set(drivername="sqlite")
        self._keyring = keyring
        writer = self._engine("BEGIN IMMEDIATE", connections=1, reader=False)
        self._writer = _Connections([self._connection(writer)])
        reader = self._engine("BEGIN", connections=_READERS, reader=True)
        self._readers = _Connections([self._connection(reader) for _ in range(_READERS)])

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.write`."""
        with told_errors(self.observe_error), _translated_errors():
            async with self._writer.one() as one, one.transaction() as conn:
                yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.read`."""
        with told_errors(self.observe_error), _translated_errors():
            async with self._readers.one() as one, one.transaction() as conn:
                yield conn

    async def run(self, work: Work[T]) -> T:
        """See `Database.run`; it takes one trip to the thread of the connection that writes."""
        with told_errors(self.observe_error), _translated_errors():
            async with self._writer.one() as one:
                return await one.run(work)

    async def run_read(self, work: Work[T]) -> T:
        """See `Database.run_read`; it takes one trip to the thread of a connection."""
        with told_errors(self.observe_error), _translated_errors():
            async with self._readers.one() as one:
                return await one.run(work)

    async def warm_up(self) -> None:
        """See `Database.warm_up`; its connections are made in no time."""

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        """See `Database.run_migration`."""
        async with self.write() as conn:
            await conn.run_sync(migrate)

    async def close(self) -> None:
        """Closes every connection; the log is folded into the database file."""
        await self._readers.close()
        await self._writer.close()

    def _connection(self, engine: Engine) -> ThreadedConnection:
        return ThreadedConnection(engine)

    def _engine(self, begin: str, *, connections: int, reader: bool) -> Engine:
        engine = create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            # One thread after another may use a connection, never two at once.
            connect_args={"check_same_thread": False},
            # An error's text goes to the log, and parameters hold payloads and secrets.
            hide_parameters=True,
            execution_options={KEYRING: self._keyring},
        )

        @event.listens_for(engine, "connect")
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

        @event.listens_for(engine, "begin")
        def begin_transaction(conn: Connection) -> None:
            conn.exec_driver_sql(begin)

        return engine


class _Connections:
    """Connections of one kind; each transaction has one of them to itself."""

    def __init__(self, connections: Sequence[ThreadedConnection]) -> None:
        self._free = list(connections)
        self._turns = asyncio.Semaphore(len(connections))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[ThreadedConnection]:
        """Waits no longer than for a lock: those in front may each wait as long for theirs."""
        try:
            async with asyncio.timeout(_BUSY_TIMEOUT_MS / 1000):
                await self._turns.acquire()
        except TimeoutError:
            raise away() from None
        connection = self._free.pop()
        try:
            yield connection
        finally:
            self._free.append(connection)
            self._turns.release()

    async def close(self) -> None:
        """Closes them; nothing may be under way, and nothing is to come."""
        while self._free:
            await self._free.pop().close()


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turns the database's own failures into the domain's; a defect of ours stays what it is."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        # Statements of SQLAlchemy's fail by its errors, prepared ones by those of the driver.
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = str(cause).lower()
        if "disk is full" in text or "no space" in text or "disk i/o error" in text:
            raise disk_full() from error
        if isinstance(cause, sqlite3.OperationalError) and (
            "locked" in text or "busy" in text or "unable to open" in text
        ):
            raise away() from error
        raise
