"""A real SQLite database whose calls take virtual time, and fail when the simulation says so."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from octohooks_server.store.database import SqliteDatabase
from octohooks_server.store.database.base import T, Work
from octohooks_server.store.database.threads import ThreadedConnection
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import DBAPIError

from tests.simulation.trace import Trace

_BEGIN_WRITE = "BEGIN IMMEDIATE"
_BUSY_TIMEOUT_SECONDS = 5.0
_BUSY_POLL_SECONDS = 0.01
_MOST_SECONDS_OF_A_COMMIT = 0.004

# A dialect is the key of SQLAlchemy's compiled statements, which are worth keeping between runs.
_shared: dict[bool, tuple[Dialect, Any]] = {}


class Faults:
    """How the disk misbehaves; a transaction that fails stores nothing, unless it says it did."""

    def __init__(self, random: random.Random, trace: Trace) -> None:
        self._random = random
        self._trace = trace
        # The chance that a transaction fails.
        self.error_rate = 0.0
        # Until when every transaction fails.
        self.away_until = 0.0
        # When it did.
        self.times: list[float] = []
        self._seconds = 0.0

    def strike(self, statement: str) -> None:
        """Lets time pass for a statement, and raises what it ends in instead of being run."""
        if statement in (_BEGIN_WRITE, "COMMIT"):
            self._seconds += self.latency()
        if statement not in ("BEGIN", _BEGIN_WRITE, "COMMIT"):
            return
        now = asyncio.get_running_loop().time()
        is_away = now < self.away_until
        if not is_away and (self.error_rate == 0 or self._random.random() >= self.error_rate):
            return
        self.times.append(now)
        text = self._random.choice(("database is locked", "disk I/O error", "unable to open"))
        self._trace.add(f"{statement} fails: {text}")
        raise _Struck(text)

    def latency(self) -> float:
        """How many seconds the beginning of a write or its commit takes."""
        return self._random.random() * _MOST_SECONDS_OF_A_COMMIT

    def take_seconds(self) -> float:
        """How long the statements took that were run since this was asked last."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def calm(self) -> None:
        """Ends every fault."""
        self.error_rate = 0.0
        self.away_until = 0.0


class SimulatedDatabase(SqliteDatabase):
    """The server's database as one process has it open, with virtual time for what a call takes."""

    def __init__(self, file: Path, faults: Faults) -> None:
        self._faults = faults
        self._connections: list[_Connection] = []
        self._is_broken_off = False
        super().__init__(f"sqlite:///{file}")

    def break_off(self) -> None:
        """Closes every connection as the end of a process does: what is open is rolled back."""
        self._is_broken_off = True
        for connection in self._connections:
            connection.break_off()

    def _connection(self, engine: Engine) -> ThreadedConnection:
        return _InPlace(engine, self._faults)

    def _engine(self, begin: str, *, connections: int, reader: bool) -> Engine:
        engine = super()._engine(begin, connections=connections, reader=reader)

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: Any, _record: Any, _args: Any, arguments: dict[str, Any]) -> None:
            arguments["factory"] = self._connect

        @event.listens_for(engine, "connect")
        def configure(dbapi_connection: Any, _record: Any) -> None:
            cursor = dbapi_connection.cursor()
            # Waiting for a lock is done in virtual time; and nobody pulls the plug.
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.close()

        engine.dialect, engine._compiled_cache = _shared.setdefault(
            reader, (engine.dialect, engine._compiled_cache)
        )
        return engine

    def _connect(self, file: str, **arguments: Any) -> "_Connection":
        if self._is_broken_off:
            raise sqlite3.OperationalError("unable to open: the process has ended")
        connection = _Connection(file, **arguments)
        connection.faults = self._faults
        self._connections.append(connection)
        return connection


class _Struck(sqlite3.OperationalError):
    """What a fault raises."""


class _Connection(sqlite3.Connection):
    """SQLite's connection, whose transactions can fail."""

    faults: Faults

    def cursor(self, *_: Any) -> "_Cursor":  # type: ignore[override]
        return super().cursor(_Cursor)

    def commit(self) -> None:
        self.faults.strike("COMMIT")
        super().commit()

    def break_off(self) -> None:
        """Ends it as the end of its process does."""
        # It may be closed already.
        with suppress(sqlite3.ProgrammingError):
            # A cursor that somebody still holds would keep the transaction open behind a close.
            self.rollback()
        self.close()


class _Cursor(sqlite3.Cursor):
    connection: _Connection

    def execute(self, statement: str, parameters: Any = ()) -> "_Cursor":
        self.connection.faults.strike(statement)
        return super().execute(statement, parameters)


class _InPlace(ThreadedConnection):
    """Makes its calls in place instead of in a thread, and lets virtual time pass for them."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        super().__init__(engine)
        self._faults = faults

    async def run(self, work: Work[T]) -> T:
        # A crash in here comes before the transaction; one that comes later, after its commit.
        await asyncio.sleep(self._faults.latency())
        return await super().run(work)

    def call(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._make(future, call, loop.time() + _BUSY_TIMEOUT_SECONDS)
        return future

    def _make(self, future: asyncio.Future[T], call: Callable[[], T], give_up_at: float) -> None:
        if future.done():
            return
        loop = asyncio.get_running_loop()
        settle: Callable[[], None]
        try:
            settle = partial(_settle, future, future.set_result, call())
        except Exception as error:
            if _is_locked(error) and loop.time() < give_up_at:
                loop.call_later(_BUSY_POLL_SECONDS, self._make, future, call, give_up_at)
                return
            settle = partial(_settle, future, future.set_exception, error)
        loop.call_later(self._faults.take_seconds(), settle)


def _is_locked(error: Exception) -> bool:
    return (
        isinstance(error, DBAPIError)
        and not isinstance(error.orig, _Struck)
        and "locked" in str(error.orig)
    )


def _settle(future: asyncio.Future[T], settle: Callable[[Any], None], value: Any) -> None:
    if not future.done():
        settle(value)
