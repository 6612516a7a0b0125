"""The schema that migrations make is the one that statements are written against."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from octohooks_server.store.migrations import migrate
from octohooks_server.store.tables import metadata
from sqlalchemy import Connection, Engine, create_engine, text


def test_migrations_lead_to_the_tables_of_this_release(database_file: Path) -> None:
    engine = create_engine(f"sqlite:///{database_file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_every_table_and_index_is_made_as_it_is_declared(
    database_file: Path, tmp_path: Path
) -> None:
    """More than alembic compares: conditions of indexes, tables without row IDs, primary keys."""
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}")
    metadata.create_all(declared)
    migrated = create_engine(f"sqlite:///{database_file}")
    found = _definitions(migrated)
    del found["alembic_version"]
    assert found == _definitions(declared)
    declared.dispose()
    migrated.dispose()


def test_migrating_again_changes_nothing(database_file: Path) -> None:
    engine = create_engine(f"sqlite:///{database_file}")
    before = _definitions(engine)
    with engine.begin() as connection:
        migrate(connection)
    assert _definitions(engine) == before
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'octohooks.db'}")
    try:
        with engine.begin() as connection:
            _begin(connection)
            migrate(connection)
            raise KeyError
    except KeyError:
        pass
    assert _definitions(engine) == {}
    engine.dispose()


def _begin(connection: Connection) -> None:
    """Begins as the server does: sqlite3 by itself would begin no transaction for DDL."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _definitions(engine: Engine) -> dict[str, str]:
    """The SQL of every table and index, without differences of layout."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {row.name: "".join(row.sql.split()).replace('"', "") for row in rows}
