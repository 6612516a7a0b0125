"""PostgreSQL: a database that any number of servers share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import DateTime, event, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from octohooks_server.rules.keyring import Keyring
from octohooks_server.store.database.base import (
    MOST_SECONDS_OF_WAITING,
    Database,
    DatabaseRefuses,
    Work,
    away,
    disk_full,
    told_errors,
)
from octohooks_server.store.database.prepared import driver
from octohooks_server.store.database.statements import take_turn
from octohooks_server.store.sealing import KEYRING, NO_KEYS
from octohooks_server.waiting import wait_at_most

T = TypeVar("T")

_CHANNEL = "octohooks"
_APPLICATION_NAME = "octohooks"
# Of work that may take long: migrations and imports.
_PATIENT_APPLICATION_NAME = "octohooks maintenance"
_MILLISECONDS_OF_WAITING = str(round(MOST_SECONDS_OF_WAITING * 1000))
_LIMITS = {
    "lock_timeout": _MILLISECONDS_OF_WAITING,
    "statement_timeout": "30000",
    # A server that is stopped or cut off in the middle of a transaction keeps others from recording
    # outcomes for no longer than this, which has to be less than the least `Bounds.time_to_record`.
    "idle_in_transaction_session_timeout": "2000",
}
_PLANNING = {
    # Statements are short; compiling one costs more than it saves.
    "jit": "off",
    # There is an index for whatever is looked for. A plan that is made while a table is small would
    # rather read all of it, and is kept until the table's statistics are, which may take a minute:
    # by then there may be a hundred thousand rows.
    "enable_seqscan": "off",
}
# Sessions whose client has stopped, in a state in which no timeout of PostgreSQL ends them: where a
# statement is prepared and not run yet, and where a result is not taken. The latter may have run
# for as long as a statement may before.
_FROZEN_SESSIONS = f"""
    FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
        AND application_name = '{_APPLICATION_NAME}'
        AND (
            state = 'active' AND wait_event = 'ClientRead'
                AND state_change < clock_timestamp() - interval '1.5 seconds'
            OR wait_event = 'ClientWrite'
                AND state_change < clock_timestamp() - interval '35 seconds'
        )
"""
_FIND_FROZEN_SESSIONS = f"SELECT pid, state_change {_FROZEN_SESSIONS}"
_END_FROZEN_SESSIONS = f"""
    SELECT pg_terminate_backend(pid) {_FROZEN_SESSIONS}
        AND (pid, state_change) IN (SELECT * FROM unnest($1::int[], $2::timestamptz[]))
"""
# As many as a busy server uses at the same time: for messages, outcomes, claims and the background.
_CONNECTIONS_FROM_THE_START = 5
# The driver asks the database about the types of lists, at length, when it meets them first on a
# connection.
_MEET_TYPES = (
    "SELECT $1::text[], $2::varchar[], $3::bigint[], $4::int[], $5::smallint[], $6::bool[],"
    " $7::bytea[]"
)
# A network that swallows everything is noticed after this.
_MOST_SECONDS_FOR_A_COMMAND = 40.0
_SECONDS_AFTER_A_FAILURE = 1.0
# A connection that is listened at is asked for a sign of life this often.
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0

_DISK_FULL = "53100"
# SQLSTATE codes and classes of a database that is away, overloaded, starting, handing over or
# closed to us, and of locks that could not be had. Work that is repeated may succeed.
_AWAY = ("08", "28", "3D", "40", "53", "57", "55000", "55P03", "25P03", "42501", "58030")
# Of a write that a server refuses which has handed over to another one.
_READ_ONLY = "25006"
# What the driver raises by itself.
_OF_THE_DRIVER = (asyncpg.InterfaceError, asyncpg.InternalClientError)
# After these, the driver may not know how a connection stands.
_CONFUSING = (InterfaceError, InternalError, TimeoutError, *_OF_THE_DRIVER)
# Of a user who is not let in, and of a database that does not exist.
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class PostgresDatabase(Database):
    """A database in a PostgreSQL server, by a URL as libpq takes it."""

    def __init__(self, url: str, *, connections: int, keyring: Keyring = NO_KEYS) -> None:
        self._dsn = url
        self._most_connections = connections
        # Connections that nobody uses at the moment, and how many wait for one of the engine's.
        self._kept: list[AsyncConnection] = []
        self._waiting = 0
        # The connection that is listened at, and who says something there.
        self._listening: asyncpg.Connection[asyncpg.Record] | None = None
        self._speaking = asyncio.Lock()
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={
                "async_creator_fn": self._connect,
                # Lists of rows make one statement for each length; the short ones come again.
                "prepared_statement_cache_size": 500,
            },
            pool_size=connections,
            max_overflow=0,
            # An error's text goes to the log, and parameters hold payloads and secrets.
            hide_parameters=True,
            pool_timeout=MOST_SECONDS_OF_WAITING,
            # Transactions are the driver's, since SQLAlchemy would begin one only with the first
            # statement of its own, and prepared ones are not.
            isolation_level="AUTOCOMMIT",
            execution_options={KEYRING: keyring},
        )

        @event.listens_for(self._engine.sync_engine, "checkout")
        def skip_closed(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
            # The database went away while the connection was idle.
            if dbapi_connection.driver_connection.is_closed():
                raise DisconnectionError

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.write`."""
        with told_errors(self.observe_error), _translated_errors(_READ_ONLY):
            async with self._connection() as conn, _begun(conn):
                yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.read`."""
        with told_errors(self.observe_error), _translated_errors():
            async with (
                self._connection() as conn,
                _begun(conn, isolation="repeatable_read", readonly=True),
            ):
                yield conn

    async def run_one_change(self, work: Work[T]) -> T:
        """See `Database.run_one_change`; each statement is a transaction of its own."""
        with told_errors(self.observe_error), _translated_errors(_READ_ONLY):
            async with self._connection() as conn, _given_up_when_confused(conn):
                return await work(conn)

    async def warm_up(self) -> None:
        """See `Database.warm_up`."""
        async with AsyncExitStack() as opened:
            await asyncio.gather(
                *(
                    opened.enter_async_context(self._connection())
                    for _ in range(min(self._most_connections, _CONNECTIONS_FROM_THE_START))
                )
            )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """One of the engine's connections, which is kept between two blocks unless one fails.

        To take it from the engine for each would cost as much as to begin and end a transaction.
        """
        conn = self._kept.pop() if self._kept else None
        if conn is None or _is_closed(conn):
            conn = await self._taken(conn)
        try:
            yield conn
        except BaseException:
            await asyncio.shield(conn.close())
            raise
        if self._waiting or conn.invalidated:
            await asyncio.shield(conn.close())
            return
        if conn.in_transaction():
            # To SQLAlchemy alone, which asks nothing of the database: that is the driver's to do.
            await conn.commit()
        self._kept.append(conn)

    async def _taken(self, gone: AsyncConnection | None) -> AsyncConnection:
        """A connection of the engine's, in place of one that the database has closed."""
        self._waiting += 1
        try:
            if gone is not None:
                await gone.close()
            return await self._engine.connect()
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def long_write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction like `write`, which may take as long as it needs and waits for locks."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            connect_args={"async_creator_fn": partial(self._connect, is_patient=True)},
            poolclass=NullPool,
            hide_parameters=True,
        )
        with _translated_errors(_READ_ONLY):
            async with engine.begin() as conn:
                yield conn

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        """See `Database.run_migration`."""
        await self._require_entry()
        async with self.long_write() as conn:
            await take_turn(conn, "schema")
            await conn.run_sync(migrate)

    async def _require_entry(self) -> None:
        """DatabaseRefuses when nobody is let in here by this URL."""
        try:
            connection = await self._connect()
        except _REFUSED as error:
            raise DatabaseRefuses(str(error)) from error
        except ValueError:
            # Of what asyncpg does not understand of the URL; its text may hold a password.
            raise DatabaseRefuses("its URL cannot be understood") from None
        except (OSError, TimeoutError, asyncpg.PostgresError):
            # What else there is shows when work is done.
            return
        await connection.close()

    async def now(self) -> datetime:
        """The time of the database's own clock."""
        async with self.read() as conn:
            now = await conn.scalar(select(func.clock_timestamp(type_=DateTime(True))))
        assert isinstance(now, datetime)
        return now

    async def end_frozen_sessions(self) -> int:
        """Ends what servers hold that stopped in the middle of a transaction; answers how many.

        What PostgreSQL ends by itself (`idle_in_transaction_session_timeout`) is not among them.
        """
        with told_errors(self.observe_error), _translated_errors():
            async with self._connection() as conn:
                found = (await conn.exec_driver_sql(_FIND_FROZEN_SESSIONS)).all()
                if not found:
                    return 0
                # Looked at twice: what a session does and what it waits for are not read at one
                # moment, and one that has just ended a long statement seems to be frozen.
                ended = await conn.exec_driver_sql(
                    _END_FROZEN_SESSIONS, tuple(list(column) for column in zip(*found, strict=True))
                )
                return len(ended.all())

    async def listen(self, hear: Callable[[str], None], connected: Callable[[], None]) -> None:
        """Calls `hear` with each text that a server on this database tells, until cancelled.

        Calls `connected` at the beginning and whenever texts may have been missed, since the
        connection had to be made anew.
        """
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen_once(hear, connected)
            await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)

    async def _listen_once(
        self, hear: Callable[[str], None], connected: Callable[[], None]
    ) -> None:
        connection = await self._connect()
        try:
            await connection.add_listener(_CHANNEL, lambda *told: hear(str(told[-1])))
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            self._listening = connection
            connected()
            while not connection.is_closed():
                await wait_at_most(_SECONDS_BETWEEN_SIGNS_OF_LIFE, ended)
                async with self._speaking:
                    await connection.execute("SELECT 1")
        finally:
            self._listening = None
            connection.terminate()

    async def tell(self, text: str) -> None:
        """Tells a text of at most 8,000 bytes to every server that listens.

        Only while this one listens itself; Unavailable otherwise.
        """
        with told_errors(self.observe_error), _translated_errors(_READ_ONLY):
            # One statement needs neither a place in the pool nor a transaction around it.
            async with self._speaking:
                if self._listening is None:
                    raise away()
                await self._listening.fetchval("SELECT pg_notify($1, $2)", _CHANNEL, text)

    async def close(self) -> None:
        """See `Database.close`."""
        kept, self._kept = self._kept, []
        for conn in kept:
            await conn.close()
        await self._engine.dispose()

    async def _connect(self, *, is_patient: bool = False) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection; what a patient one does may take as long as it needs."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=MOST_SECONDS_OF_WAITING,
            command_timeout=None if is_patient else _MOST_SECONDS_FOR_A_COMMAND,
            server_settings={
                "application_name": _PATIENT_APPLICATION_NAME if is_patient else _APPLICATION_NAME
            },
        )
        settings = dict.fromkeys(_LIMITS, "0") if is_patient else _LIMITS | _PLANNING
        try:
            # Not as the connection is made, where a pooler in between may know none of them.
            await connection.execute(
                ";".join(f"SET {name} = '{value}'" for name, value in settings.items())
            )
            if not is_patient:
                await connection.fetch(_MEET_TYPES, *[[]] * _MEET_TYPES.count("$"))
        except BaseException:
            connection.terminate()
            raise
        return connection


def _is_closed(conn: AsyncConnection) -> bool:
    """Whether the database went away while a connection was idle."""
    return bool(driver(conn).is_closed())


@asynccontextmanager
async def _begun(conn: AsyncConnection, **options: Any) -> AsyncIterator[None]:
    """A transaction; a connection that is in an unknown state after it is given up."""
    async with _given_up_when_confused(conn):
        raw = driver(conn)
        transaction = raw.transaction(**options)
        try:
            await transaction.start()
        except BaseException:
            # Cancelled, it may have begun all the same, which the driver does not know yet. The
            # next one on this connection would be a part of it, and never be committed.
            await conn.invalidate()
            raise
        try:
            try:
                yield
            except _CONFUSING:
                raise
            except BaseException:
                # A statement that was cancelled may have closed it.
                if not raw.is_closed():
                    await asyncio.shield(transaction.rollback())
                raise
            await transaction.commit()
        finally:
            # Whoever began, committed or rolled back was cancelled meanwhile.
            if raw.is_in_transaction():
                await conn.invalidate()


@asynccontextmanager
async def _given_up_when_confused(conn: AsyncConnection) -> AsyncIterator[None]:
    """Keeps a connection out of the pool that the driver no longer knows the state of.

    When the server ends a connection while a statement is on its way, the driver may not notice the
    end. Nor is a rollback waited for where the network swallows everything.
    """
    try:
        yield
    except _CONFUSING:
        await conn.invalidate()
        raise


@contextmanager
def _translated_errors(*away_too: str) -> Iterator[None]:
    """Turns the database's own failures into the domain's; a defect of ours stays what it is.

    `away_too` are more codes of a database that is away.
    """
    try:
        yield
    except (NoConnectionInTime, OSError, TimeoutError, DisconnectionError) as error:
        raise away() from error
    except (DBAPIError, asyncpg.PostgresError, *_OF_THE_DRIVER) as error:
        # Statements of SQLAlchemy's fail by its errors, prepared ones by those of the driver.
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = str(getattr(cause, "sqlstate", None) or "")
        if code == _DISK_FULL:
            raise disk_full() from error
        if isinstance(error, (InternalError, asyncpg.InternalClientError)) and not code:
            # The server ended the connection at this moment.
            raise away() from error
        is_closed = isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)
        if is_closed or (isinstance(error, DBAPIError) and error.connection_invalidated):
            raise away() from error
        if code.startswith((*_AWAY, *away_too)):
            raise away() from error
        raise
