"""Life with data: bringing the schema up to date, saving the database, and moving to PostgreSQL."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Table, func, select, text
from sqlalchemy.engine import Connection

from octohooks_server.opening import held, migrated
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.store.database import PostgresDatabase, copy_into, open_database, take_turn
from octohooks_server.store.tables import instance, metadata

_ROWS_AT_ONCE = 2_000
_PAGES_AT_ONCE = 1_000


class MaintenanceError(Exception):
    """It cannot be done; the text is a sentence for the operator."""


async def migrate_database(settings: Settings) -> str:
    """Brings the database to this release's schema; answers the schema's revision.

    Raises:
        SettingsError: the database cannot be had, or is newer than this release.
    """
    if settings.database_url is None:
        with held(settings.data_dir):
            return await _migrate(settings)
    return await _migrate(settings)


async def _migrate(settings: Settings) -> str:
    database = open_database(settings.database, connections=2)
    try:
        await migrated(database, settings)
        async with database.read() as conn:
            return await conn.run_sync(_revision)
    finally:
        await database.close()


def backup(settings: Settings, target: Path) -> int:
    """Saves the embedded database into a new file while its server runs; answers the file's size.

    The copy is of one moment. It is complete once the file is there: until then it has another
    name.

    Raises:
        MaintenanceError: there is nothing to save, or the file exists or cannot be written.
    """
    if settings.database_url is not None:
        raise MaintenanceError(
            "OCTOHOOKS_DATABASE_URL is set. PostgreSQL saves itself: run `pg_dump --format=custom"
            " --file=FILE URL`, or archive its log for any point in time."
        )
    source = settings.database_file
    require_file(source)
    if target.exists():
        raise MaintenanceError(f"{target} exists already; nothing was written.")
    partial = target.with_name(target.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        # From its first byte on it is nobody else's to read.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(_opened(source)) as from_here, closing(sqlite3.connect(partial)) as to_there:
            from_here.backup(to_there, pages=_PAGES_AT_ONCE)
            (verdict,) = to_there.execute("PRAGMA quick_check").fetchone()
            if verdict != "ok":
                raise MaintenanceError(f"The copy is damaged: {verdict}.")
            # Else it would bring files of its own along, which a copy of the file would miss.
            to_there.execute("PRAGMA journal_mode = DELETE")
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise MaintenanceError(f"{target} could not be written: {error}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


async def import_sqlite(
    settings: Settings, source: Path, told: Callable[[str, int], None]
) -> dict[str, int]:
    """Copies an SQLite database into the empty PostgreSQL database; answers the rows by table.

    All is copied or nothing. Keys, tokens and what is due stay as they are, so that servers on the
    new database go on where the old one stopped. `told(table, rows)` is called after each table.

    Raises:
        MaintenanceError: the file is in use or no database of this release, or the new database
            has something in it.
        SettingsError: the new database cannot be had.
    """
    if settings.database_url is None:
        raise MaintenanceError(
            "OCTOHOOKS_DATABASE_URL is not set; it says which PostgreSQL database to copy into."
        )
    require_file(source)
    _require_whole(source)
    database = open_database(settings.database, connections=2)
    assert isinstance(database, PostgresDatabase)
    try:
        await migrated(database, settings)
        with _unused(source):
            return await _copy(database, source, told)
    finally:
        await database.close()


async def _copy(
    database: PostgresDatabase, source: Path, told: Callable[[str, int], None]
) -> dict[str, int]:
    copied: dict[str, int] = {}
    with closing(_opened(source)) as old:
        old.execute("BEGIN")
        async with database.long_write() as conn:
            # Servers that start meanwhile wait for it, and those that run change nothing.
            await take_turn(conn, "schema")
            names = ", ".join(table.name for table in metadata.sorted_tables)
            await conn.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
            _require_same_release(old, await conn.run_sync(_revision))
            for table in metadata.sorted_tables:
                if table is not instance and await conn.scalar(select(select(table).exists())):
                    raise MaintenanceError(
                        f"The database of OCTOHOOKS_DATABASE_URL has rows in {table.name}; only an"
                        " empty one can be copied into."
                    )
            await conn.execute(instance.delete())
            for table in metadata.sorted_tables:
                for rows in _rows(old, table):
                    await copy_into(conn, table, rows)
                    copied[table.name] = copied.get(table.name, 0) + len(rows)
                told(table.name, copied.get(table.name, 0))
            for table in metadata.sorted_tables:
                count = await conn.scalar(select(func.count()).select_from(table))
                assert count == copied.get(table.name, 0), f"{table.name} was not copied whole"
    return copied


def require_file(source: Path) -> None:
    """MaintenanceError when there is no embedded database here."""
    if not source.is_file():
        raise MaintenanceError(f"There is no database at {source}.")


def _require_whole(source: Path) -> None:
    """MaintenanceError for a file that may have been copied without the log that belongs to it.

    A server's database names a log in its header (https://www.sqlite.org/fileformat.html, 1.3.3),
    which holds what was committed last until the server stops in order.
    """
    with source.open("rb") as file:
        has_log = file.read(20)[18:] == b"\x02\x02"
    is_in_its_folder = (source.parent / "lock").exists()
    if has_log and not is_in_its_folder and not source.with_name(f"{source.name}-wal").exists():
        raise MaintenanceError(
            f"{source} was copied from a server's folder; without the {source.name}-wal that was"
            " beside it there, what was stored last may be missing. Import the file in the folder"
            " of the stopped server, or one that `octohooks backup` saved."
        )


def _rows(old: sqlite3.Connection, table: Table) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows of a table as PostgreSQL's driver takes them, some at a time."""
    booleans = [i for i, column in enumerate(table.c) if isinstance(column.type, Boolean)]
    names = ", ".join(f'"{column.name}"' for column in table.c)
    cursor = old.execute(f"SELECT {names} FROM {table.name}")
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for index in booleans:
            rows = [(*row[:index], bool(row[index]), *row[index + 1 :]) for row in rows]
        yield rows


def _require_same_release(old: sqlite3.Connection, revision: str) -> None:
    try:
        found = old.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError:
        raise MaintenanceError("The file is no database of Octohooks.") from None
    if found != (revision,):
        raise MaintenanceError(
            "The file is of another release; start this release's server on it once, or run"
            " `octohooks migrate` with its OCTOHOOKS_DATA_DIR."
        )


def _revision(connection: Connection) -> str:
    return str(MigrationContext.configure(connection).get_current_revision())


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)


@contextmanager
def _unused(file: Path) -> Iterator[None]:
    """Keeps a server from starting on the database; MaintenanceError while one runs."""
    if not (file.parent / "lock").exists():
        # A backup, perhaps; no server ever had it.
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(held(file.parent))
        except SettingsError:
            raise MaintenanceError(
                f"A server is running on {file}; stop it first, or what it accepts from now on"
                " would be left behind."
            ) from None
        yield
