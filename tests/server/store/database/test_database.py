"""What holds for transactions on every database."""

import asyncio

import pytest
from octohooks_server.store.database import (
    Database,
    among,
    insert_unless_taken,
    key_pairs,
    open_database,
    take_turn,
)
from octohooks_server.store.tables import instance
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection


async def put(conn: AsyncConnection, name: str, value: bytes = b"") -> None:
    await conn.execute(insert(instance), {"name": name, "value": value})


async def names(database: Database) -> set[str]:
    async with database.read() as conn:
        return set((await conn.execute(select(instance.c.name))).scalars())


async def test_a_write_is_committed_at_the_end_of_its_block(database: Database) -> None:
    async with database.write() as conn:
        await put(conn, "one")
        assert await names(database) == set()
    assert await names(database) == {"one"}


async def test_a_write_whose_block_raises_changes_nothing(database: Database) -> None:

    async def fail() -> None:
        async with database.write() as conn:
            await put(conn, "one")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await names(database) == set()
    async with database.write() as conn:
        await put(conn, "two")
    assert await names(database) == {"two"}


async def test_a_write_that_is_cancelled_changes_nothing(database: Database) -> None:
    has_written = asyncio.Event()

    async def write() -> None:
        async with database.write() as conn:
            await put(conn, "one")
            has_written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await has_written.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await names(database) == set()
    async with database.write() as conn:
        await put(conn, "two")
    assert await names(database) == {"two"}


async def test_a_read_sees_one_state_of_the_database(database: Database) -> None:
    async with database.read() as conn:
        assert (await conn.execute(select(instance.c.name))).all() == []
        async with database.write() as writing:
            await put(writing, "one")
        assert (await conn.execute(select(instance.c.name))).all() == []
    assert await names(database) == {"one"}


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"):
        async with database.read() as conn:
            await put(conn, "one")


async def test_of_writes_that_change_the_same_row_none_is_lost(database: Database) -> None:
    async with database.write() as conn:
        await put(conn, "counter", b"0")

    async def count() -> None:
        async with database.write() as conn:
            value = await conn.scalar(select(instance.c.value).with_for_update())
            assert value is not None
            await conn.execute(update(instance).values(value=str(int(value) + 1).encode()))

    await asyncio.gather(*(count() for _ in range(20)))
    async with database.read() as conn:
        assert await conn.scalar(select(instance.c.value)) == b"20"


async def test_a_defect_of_ours_is_not_taken_for_a_database_that_is_away(
    database: Database,
) -> None:
    with pytest.raises(DBAPIError):
        async with database.write() as conn:
            await conn.execute(text("SELECT * FROM no_such_table"))


async def test_an_insert_unless_taken_says_which_rows_it_made(database: Database) -> None:
    rows = [{"name": name, "value": b""} for name in ("one", "two", "one")]
    statement = insert_unless_taken
    async with database.write() as conn:
        await put(conn, "two")
        made = await conn.execute(statement(conn, instance).returning(instance.c.name), rows)
        assert made.scalars().all() == ["one"]
    assert await names(database) == {"one", "two"}


@pytest.mark.parametrize("wanted", [[], ["a"], ["b", "a", "B", "c"], ["'", '"', "\\", "é", "a,b"]])
async def test_among_finds_the_rows_that_have_one_of_the_texts(
    database: Database, wanted: list[str]
) -> None:
    there = {"a", "b", "'", '"', "\\", "é", "a,b", "x"}
    async with database.write() as conn:
        for name in there:
            await put(conn, name)
    async with database.read() as conn:
        rows = await conn.execute(select(instance.c.name).where(among(instance.c.name, wanted)))
        assert set(rows.scalars()) == there & set(wanted)


async def test_pairs_of_keys_are_a_table_to_join_with(database: Database) -> None:
    pairs = [("a", "1"), ("a", "2"), ("b", '"')]
    async with database.read() as conn:
        table = key_pairs(conn, "first", "second", pairs)
        rows = await conn.execute(select(table.c.first, table.c.second))
        assert sorted(map(tuple, rows)) == pairs


async def test_texts_are_compared_and_sorted_by_their_bytes(database: Database) -> None:
    """Whatever the database's collation is, since IDs sort by their time of creation."""
    async with database.write() as conn:
        for name in ("b", "B", "a_", "a1", "a-", "A"):
            await put(conn, name)
    async with database.read() as conn:
        rows = await conn.execute(select(instance.c.name).order_by(instance.c.name))
        assert rows.scalars().all() == ["A", "B", "a-", "a1", "a_", "b"]


async def test_who_waits_for_a_turn_has_it_alone(database_url: str) -> None:
    """As two servers on one database do."""
    one, other = open_database(database_url), open_database(database_url)
    order: list[str] = []
    first_is_in = asyncio.Event()

    async def first() -> None:
        async with one.write() as conn:
            await take_turn(conn, "a turn")
            first_is_in.set()
            # The other one has every chance to come in.
            for _ in range(20):
                await asyncio.sleep(0)
            order.append("first")

    async def second() -> None:
        await first_is_in.wait()
        async with other.write() as conn:
            await take_turn(conn, "a turn")
            order.append("second")

    await asyncio.gather(second(), first())
    assert order == ["first", "second"]
    await one.close()
    await other.close()
