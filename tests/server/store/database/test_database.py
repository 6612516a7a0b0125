"""What holds for transactions on every database."""

import asyncio
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from octohooks_server.store.database import (
    Database,
    InsertRows,
    Prepared,
    Row,
    UpdateRows,
    among,
    insert_or_replace,
    insert_unless_taken,
    key_pairs,
    open_database,
    run_together,
    take_turn,
    texts,
)
from octohooks_server.store.tables import event_types, idempotent_answers, instance
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


async def test_work_that_is_run_is_one_transaction(database: Database) -> None:

    async def work(conn: AsyncConnection) -> set[str]:
        await put(conn, "one")
        await put(conn, "two")
        return set((await conn.execute(select(instance.c.name))).scalars())

    assert await database.run(work) == {"one", "two"}
    assert await names(database) == {"one", "two"}


async def test_work_that_is_run_and_raises_changes_nothing(database: Database) -> None:

    async def fail(conn: AsyncConnection) -> None:
        await put(conn, "one")
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(fail)
    assert await names(database) == set()
    await database.run(lambda conn: put(conn, "two"))
    assert await names(database) == {"two"}


async def test_work_that_makes_one_change_is_stored_and_sees_it(database: Database) -> None:

    async def work(conn: AsyncConnection) -> set[str]:
        await put(conn, "one")
        return set((await conn.execute(select(instance.c.name))).scalars())

    assert await database.run_one_change(work) == {"one"}
    assert await names(database) == {"one"}


async def test_one_change_that_fails_leaves_nothing_and_the_database_goes_on(
    database: Database,
) -> None:
    rows = [{"name": name, "value": b""} for name in ("one", "two", "one")]
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.run_one_change(lambda conn: InsertRows(instance).run(conn, rows))
    assert await names(database) == set()
    await database.run_one_change(lambda conn: put(conn, "three"))
    assert await names(database) == {"three"}


async def test_work_that_is_run_sees_the_context_of_its_caller(database: Database) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of the caller")

    async def work(conn: AsyncConnection) -> str:
        await put(conn, "one")
        return variable.get()

    assert await database.run(work) == "of the caller"


async def test_work_whose_caller_goes_away_is_done_whole_or_not_at_all(database: Database) -> None:

    async def work(conn: AsyncConnection) -> None:
        await put(conn, "one")
        await put(conn, "two")

    caller = asyncio.create_task(database.run(work))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    # Behind whatever is still being done of it.
    async with database.write() as conn:
        await put(conn, "three")
    assert await names(database) in ({"three"}, {"one", "two", "three"})


async def test_prepared_rows_are_inserted_and_updated_with_values_of_every_type(
    database: Database,
) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = [
        {
            "environment_id": "env_1",
            "name": name,
            "description": 'It\'s "quoted" \\ and: é',
            "schema": None,
            "examples": examples,
            "archived": archived,
            "metadata": {"a": "b"},
            "created_at": now,
            "updated_at": now + timedelta(microseconds=1),
        }
        for name, examples, archived in (("one", ["{}"], True), ("two", [], False))
    ]
    changed = [{**row, "archived": not row["archived"], "schema": "{}"} for row in made]
    insert_types = InsertRows(event_types)
    update_types = UpdateRows(
        event_types, within="environment_id", keys=("name",), changes=("archived", "schema")
    )
    read_types = Prepared(
        select(event_types)
        .where(among(event_types.c.name, texts("names")), event_types.c.created_at >= now)
        .order_by(event_types.c.name)
    )

    async def read(conn: AsyncConnection) -> list[Row]:
        return await read_types.rows(conn, names=["one", "two", "three"])

    async with database.write() as conn:
        await insert_types.run(conn, [])
        await insert_types.run(conn, made)
        # An empty list is kept as nothing.
        assert await read(conn) == [made[0], {**made[1], "examples": None}]
    async with database.write() as conn:
        await update_types.run(conn, changed)
        assert await read(conn) == [changed[0], {**changed[1], "examples": None}]
    alike = [{**row, "archived": True, "schema": None} for row in made]
    async with database.write() as conn:
        await update_types.run(conn, alike)
        assert await read(conn) == [alike[0], {**alike[1], "examples": None}]
    different = [{**alike[0], "schema": "[]"}, {**alike[1], "archived": False}]
    async with database.write() as conn:
        await update_types.run(conn, different)
        assert await read(conn) == [different[0], {**different[1], "examples": None}]


async def test_rows_that_are_all_alike_are_inserted_one_by_one(database: Database) -> None:
    """So that a row that is there twice is not taken for one."""
    row = {"name": "one", "value": b""}
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.run(lambda conn: InsertRows(instance).run(conn, [row, row]))
    await database.run(lambda conn: InsertRows(instance).run(conn, [row]))
    assert await names(database) == {"one"}


async def test_changes_that_are_made_together_are_all_made_or_none(database: Database) -> None:
    insert_names = InsertRows(instance)
    insert_answers = InsertRows(idempotent_answers)
    update_names = UpdateRows(instance, within="name", keys=("name",), changes=("value",))
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def name(value: bytes) -> dict[str, Any]:
        return {"name": "one", "value": value}

    def answer(key: bytes) -> dict[str, Any]:
        return {
            "scope": "operator",
            "key_hash": key,
            "request_hash": b"r",
            "answer": None,
            "expires_at": now,
        }

    async def change(
        conn: AsyncConnection, answers: list[dict[str, Any]], *of_names: tuple[Any, Any]
    ) -> None:
        await run_together(conn, *of_names, (insert_answers, answers))

    async def all_stored() -> tuple[list[Any], list[Any]]:
        async with database.read() as conn:
            return (
                list((await conn.execute(select(instance.c.value))).scalars()),
                list((await conn.execute(select(idempotent_answers.c.key_hash))).scalars()),
            )

    await database.run_one_change(
        lambda conn: change(conn, [answer(b"1")], (insert_names, [name(b"first")]))
    )
    assert await all_stored() == ([b"first"], [b"1"])
    await database.run_one_change(
        lambda conn: change(conn, [answer(b"2"), answer(b"3")], (update_names, [name(b"second")]))
    )
    assert await all_stored() == ([b"second"], [b"1", b"2", b"3"])
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.run_one_change(
            lambda conn: change(conn, [answer(b"3")], (update_names, [name(b"third")]))
        )
    assert await all_stored() == ([b"second"], [b"1", b"2", b"3"])
    # What has no rows is left out.
    await database.run_one_change(lambda conn: change(conn, [], (insert_names, ())))
    assert await all_stored() == ([b"second"], [b"1", b"2", b"3"])


async def test_pairs_of_keys_can_be_given_to_a_prepared_statement(database: Database) -> None:
    prepared = Prepared(lambda dialect: select(*key_pairs(dialect, "first", "second").c))
    async with database.read() as conn:
        rows = await prepared.rows(conn, firsts=["a", "a", "b"], seconds=["1", "2", '"'])
    assert sorted((row["first"], row["second"]) for row in rows) == [
        ("a", "1"),
        ("a", "2"),
        ("b", '"'),
    ]


async def test_a_prepared_statement_that_fails_changes_nothing_of_its_transaction(
    database: Database,
) -> None:
    rows = [{"name": name, "value": b""} for name in ("one", "two", "one")]
    with pytest.raises(Exception, match=r"(?i)unique"):
        await database.run(lambda conn: InsertRows(instance).run(conn, rows))
    assert await names(database) == set()


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


async def test_an_insert_or_replace_replaces_what_it_may_and_says_which_rows_it_wrote(
    database: Database,
) -> None:
    rows = [{"name": name, "value": b"new"} for name in ("one", "two", "three")]
    async with database.write() as conn:
        await put(conn, "two", b"may go")
        await put(conn, "three", b"stays")
        may_go = instance.c.value == b"may go"
        statement = insert_or_replace(conn, instance, where=may_go).returning(instance.c.name)
        written = await conn.execute(statement, rows)
        assert set(written.scalars()) == {"one", "two"}
    async with database.read() as conn:
        stored = dict((await conn.execute(select(instance.c.name, instance.c.value))).all())
    assert stored == {"one": b"new", "two": b"new", "three": b"stays"}


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
        table = key_pairs(conn.dialect, "first", "second", pairs)
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
