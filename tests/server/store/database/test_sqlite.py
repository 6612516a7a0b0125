"""SQLite: its locks, its log, and what becomes of a write when the disk is full."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest
from octohooks_server.errors import ResourceExhausted, Unavailable
from octohooks_server.store.database import Database, InsertRows, SqliteDatabase
from octohooks_server.store.tables import instance
from sqlalchemy import event, insert, select, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection


@pytest.fixture
async def impatient(
    database_file: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """A database that waits for locks and connections no longer than a moment."""
    monkeypatch.setattr("octohooks_server.store.database.sqlite._BUSY_TIMEOUT_MS", 20)
    database = SqliteDatabase(f"sqlite:///{database_file}")
    yield database
    await database.close()


@pytest.fixture
async def database(database_file: Path) -> AsyncIterator[Database]:
    database = SqliteDatabase(f"sqlite:///{database_file}")
    yield database
    await database.close()


@contextmanager
def locked_by_another_process(file: Path) -> Iterator[None]:
    """While the block runs, somebody else holds the lock that a write needs."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def put(conn: AsyncConnection, name: str, value: bytes = b"") -> None:
    await conn.execute(insert(instance), {"name": name, "value": value})


async def names(database: Database) -> set[str]:
    async with database.read() as conn:
        return set((await conn.execute(select(instance.c.name))).scalars())


async def test_a_write_that_has_only_read_so_far_is_not_overtaken(
    database: Database, database_file: Path
) -> None:
    """Else its first change would fail at once, however long it would have waited for a lock."""
    async with database.write() as conn:
        await conn.execute(select(instance.c.name))
        with (
            closing(sqlite3.connect(database_file, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("INSERT INTO instance VALUES ('overtaking', x'')")
        await put(conn, "one")
    assert await names(database) == {"one"}


async def test_a_commit_is_on_disk_before_it_is_told(database: Database) -> None:
    """WAL alone is not enough: without FULL, a power cut takes the last commits along."""
    async with database.write() as conn:
        assert await conn.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await conn.scalar(text("PRAGMA synchronous")) == 2


async def test_readers_never_checkpoint(database: Database) -> None:
    """Two connections that checkpoint can corrupt the log in SQLite before 3.51.3."""
    async with database.read() as conn:
        assert await conn.scalar(text("PRAGMA wal_autocheckpoint")) == 0
    async with database.write() as conn:
        assert (await conn.scalar(text("PRAGMA wal_autocheckpoint")) or 0) > 0


async def test_a_database_that_stays_locked_is_unavailable_and_works_again_afterwards(
    impatient: Database, database_file: Path
) -> None:
    async with impatient.write() as conn:
        await put(conn, "before")
    with locked_by_another_process(database_file):
        for _ in range(3):
            with pytest.raises(Unavailable) as refusal:
                async with impatient.write() as conn:
                    await put(conn, "during")
            assert refusal.value.reason == "DATABASE_UNAVAILABLE"
        # Who only reads is not held up.
        assert await names(impatient) == {"before"}
    async with impatient.write() as conn:
        await put(conn, "after")
    assert await names(impatient) == {"before", "after"}


async def test_writes_that_wait_for_one_another_wait_no_longer_than_one_for_the_lock(
    database_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the last of many would wait as many times as long, and its caller would have gone."""
    # One after another they would take ten times as long as the test may.
    count, milliseconds = 2_000, 300
    monkeypatch.setattr("octohooks_server.store.database.sqlite._BUSY_TIMEOUT_MS", milliseconds)
    database = SqliteDatabase(f"sqlite:///{database_file}")

    async def write() -> None:
        async with database.write() as conn:
            await put(conn, "during")

    with locked_by_another_process(database_file):
        refusals = await asyncio.gather(*(write() for _ in range(count)), return_exceptions=True)
    assert {type(refusal) for refusal in refusals} == {Unavailable}
    async with database.write() as conn:
        await put(conn, "after")
    await database.close()


async def test_a_read_that_gets_no_connection_in_time_is_unavailable(impatient: Database) -> None:

    async def read_many_times_at_once(stack: AsyncExitStack) -> None:
        for _ in range(100):
            conn = await stack.enter_async_context(impatient.read())
            await conn.execute(select(1))

    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable):
            await read_many_times_at_once(stack)
    assert await names(impatient) == set()


async def test_work_that_waits_for_something_else_is_refused(database: Database) -> None:
    """It would hold the thread of the connection that writes, and never be woken there."""

    async def wait(conn: AsyncConnection) -> None:
        await put(conn, "one")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waits for something else"):
        await database.run(wait)
    assert await names(database) == set()


async def test_a_prepared_statement_tells_of_a_full_disk_as_any_other(database: Database) -> None:
    async with database.write() as conn:
        pages = await conn.scalar(text("PRAGMA page_count"))
        await conn.execute(text(f"PRAGMA max_page_count = {pages}"))
    rows = [{"name": "large", "value": bytes(1 << 20)}]
    with pytest.raises(ResourceExhausted):
        await database.run(lambda conn: InsertRows(instance).run(conn, rows))
    assert await names(database) == set()


async def test_a_commit_that_fails_stores_nothing_and_hinders_no_other(database: Database) -> None:
    def fail(_: Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async def write() -> None:
        async with database.write() as conn:
            await put(conn, "one")

    await database.run(lambda conn: put(conn, "zero"))
    event.listen(Engine, "commit", fail)
    try:
        for attempt in (database.run(lambda conn: put(conn, "one")), write()):
            with pytest.raises(ResourceExhausted):
                await attempt
    finally:
        event.remove(Engine, "commit", fail)
    await database.run(lambda conn: put(conn, "two"))
    await write()
    assert await names(database) == {"zero", "one", "two"}


async def test_closing_folds_the_log_into_the_file_however_many_have_read(
    database_file: Path,
) -> None:
    database = SqliteDatabase(f"sqlite:///{database_file}")
    async with AsyncExitStack() as reading:
        readers = [await reading.enter_async_context(database.read()) for _ in range(4)]
        assert len(readers) == 4
        await database.run(lambda conn: put(conn, "one"))
    assert database_file.with_name(f"{database_file.name}-wal").exists()
    await database.close()
    assert [file.name for file in database_file.parent.glob(f"{database_file.name}*")] == [
        database_file.name
    ]


async def test_a_full_disk_is_told_and_stores_nothing(database: Database) -> None:
    async with database.write() as conn:
        pages = await conn.scalar(text("PRAGMA page_count"))
        await conn.execute(text(f"PRAGMA max_page_count = {pages}"))

    async def fill() -> None:
        async with database.write() as conn:
            await put(conn, "small")
            await put(conn, "large", bytes(1 << 20))

    with pytest.raises(ResourceExhausted) as refusal:
        await fill()
    assert refusal.value.reason == "STORAGE_FULL"
    assert await names(database) == set()
    async with database.write() as conn:
        await conn.execute(text("PRAGMA max_page_count = 1000000"))
    async with database.write() as conn:
        await put(conn, "large", bytes(1 << 20))
    assert await names(database) == {"large"}


async def test_closing_folds_the_log_into_the_database_file(
    database: Database, database_file: Path
) -> None:
    async with database.write() as conn:
        await put(conn, "one")
    await names(database)
    await database.close()
    assert [file.name for file in database_file.parent.iterdir()] == [database_file.name]
    with closing(sqlite3.connect(database_file)) as conn:
        assert conn.execute("SELECT name FROM instance").fetchall() == [("one",)]
