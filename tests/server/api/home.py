"""Where servers keep their data."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from octohooks_server.settings import Settings
from octohooks_server.store.database import Database, open_database
from octohooks_server.store.tables import metadata


@dataclass(frozen=True)
class Home:
    """A folder, and a PostgreSQL database unless the embedded one is used."""

    folder: Path
    database_url: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server that lives here."""
        return {"data_dir": self.folder, "database_url": self.database_url}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        """The database, while the block runs."""
        database = open_database(Settings(**self.settings).database, connections=2)
        try:
            yield database
        finally:
            await database.close()

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """While the block runs, somebody else keeps all others from writing."""
        if self.database_url is None:
            file = self.folder / "octohooks.db"
            with closing(sqlite3.connect(file, isolation_level=None)) as other_writer:
                other_writer.execute("BEGIN IMMEDIATE")
                yield
                other_writer.execute("ROLLBACK")
            return
        connection = await asyncpg.connect(self.database_url)
        try:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()
