"""A real SQLite database whose calls take virtual time, and fail when the simulation says so."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from octohooks_server.store.database import SqliteDatabase
from sqlalchemy import event
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine

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

    def strike(self, statement: str) -> sqlite3.OperationalError | None:
        """The error that a statement ends in, instead of being run."""
        if statement not in ("BEGIN", _BEGIN_WRITE, "COMMIT"):
            return None
        now = asyncio.get_running_loop().time()
        is_away = now < self.away_until
        if not is_away and (self.error_rate == 0 or self._random.random() >= self.error_rate):
            return None
        self.times.append(now)
        text = self._random.choice(("database is locked", "disk I/O error", "unable to open"))
        self._trace.add(f"{statement} fails: {text}")
        return sqlite3.OperationalError(text)

    def latency(self, statement: str) -> float:
        """How many seconds a statement takes."""
        if statement in (_BEGIN_WRITE, "COMMIT"):
            return self._random.random() * _MOST_SECONDS_OF_A_COMMIT
        return 0.0

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

    def _sqlite_engine(self, begin: str, *, pool_size: int, reader: bool) -> AsyncEngine:
        engine = super()._sqlite_engine(begin, pool_size=pool_size, reader=reader)
        sync_engine = engine.sync_engine

        @event.listens_for(sync_engine, "do_connect")
        def connect_inline(
            _dialect: Any, _record: Any, _args: Any, arguments: dict[str, Any]
        ) -> None:
            arguments["async_creator_fn"] = self._connect

        @event.listens_for(sync_engine, "connect")
        def configure(dbapi_connection: Any, _record: Any) -> None:
            cursor = dbapi_connection.cursor()
            # Waiting for a lock is done in virtual time; and nobody pulls the plug.
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.close()

        dialect, compiled = _shared.setdefault(
            reader,
            (sync_engine.dialect, sync_engine._compiled_cache),
        )
        sync_engine.dialect = dialect
        sync_engine._compiled_cache = compiled
        return engine

    def _connect(self, file: str, **arguments: Any) -> "_Connection":
        if self._is_broken_off:
            raise sqlite3.OperationalError("unable to open: the process has ended")
        connection = _Connection(lambda: sqlite3.connect(file, **arguments), self._faults)
        self._connections.append(connection)
        return connection


class _Connection(aiosqlite.Connection):
    """aiosqlite's connection, which makes its calls in place instead of in a thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], faults: Faults) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx = _Calls(faults)  # type: ignore[assignment]

    def __await__(self) -> Any:
        return self._connect().__await__()

    def break_off(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Calls:
    """Stands in for the queue of aiosqlite's thread."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def put_nowait(self, call: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = call
        if future is None:
            function()
            return
        self._make(future, function, asyncio.get_running_loop().time() + _BUSY_TIMEOUT_SECONDS)

    def _make(
        self, future: asyncio.Future[Any], function: Callable[[], Any], give_up_at: float
    ) -> None:
        if future.done():
            return
        loop = asyncio.get_running_loop()
        statement = _statement(function)
        error: BaseException | None = self._faults.strike(statement)
        result = None
        if error is None:
            try:
                result = function()
            except Exception as raised:
                error = raised
                if "locked" in str(raised) and loop.time() < give_up_at:
                    loop.call_later(_BUSY_POLL_SECONDS, self._make, future, function, give_up_at)
                    return
        seconds = self._faults.latency(statement)
        if seconds:
            loop.call_later(seconds, _settle, future, result, error)
        else:
            loop.call_soon(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _statement(function: Callable[[], Any]) -> str:
    if not isinstance(function, partial):
        return ""
    name = getattr(function.func, "__name__", "")
    if name == "commit":
        return "COMMIT"
    if name == "execute" and function.args:
        return str(function.args[0])
    return ""
