"""Real databases for tests: one of each kind for a test that asks for `database`."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from octohooks_server.store.database import Database, open_database
from octohooks_server.store.migrations import migrate
from sqlalchemy import create_engine

from tests.postgresql import Cluster
from tests.server.store.world import World


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the newest schema, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "octohooks.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrate(connection)
    engine.dispose()
    return file


@pytest.fixture
def database_file(tmp_path: Path, migrated_file: Path) -> Path:
    """An empty SQLite database of the test's own."""
    return Path(shutil.copy(migrated_file, tmp_path / "octohooks.db"))


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Whoever depends on it runs once on each kind of database."""
    kind: str = request.param
    return kind


@pytest.fixture
async def database_url(database_kind: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    if database_kind == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('database_file')}"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    async with cluster.database() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's own database, opened."""
    database = open_database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> World:
    """An environment in the test's own database."""
    return await World.make(database)
