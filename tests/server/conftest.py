"""A real database for each test."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from octohooks_server.store.database import Database
from octohooks_server.store.migrations import migrate
from sqlalchemy import create_engine

from tests.server.store.world import World


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with the newest schema, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "octohooks.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return file


@pytest.fixture
def database_file(tmp_path: Path, migrated_file: Path) -> Path:
    """An empty database of the test's own."""
    return Path(shutil.copy(migrated_file, tmp_path / "octohooks.db"))


@pytest.fixture
async def database(database_file: Path) -> AsyncIterator[Database]:
    """The test's own database, opened."""
    database = Database(f"sqlite:///{database_file}")
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    """An environment in the test's own database."""
    return await World.make(database)
