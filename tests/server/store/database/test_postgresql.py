"""PostgreSQL: connections that are lost, locks that are held, and what servers tell each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from octohooks_server.errors import Unavailable
from octohooks_server.store.database import (
    Database,
    DatabaseRefuses,
    PostgresDatabase,
    open_database,
    postgresql,
    take_turn,
)
from octohooks_server.store.tables import instance
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.postgresql import Cluster
from tests.waiting import eventually


@pytest.fixture
async def url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    async with cluster.database() as url:
        yield url


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = open_database(url, connections=3)
    assert isinstance(database, PostgresDatabase)
    yield database
    await database.close()


async def put(conn: AsyncConnection, name: str) -> None:
    await conn.execute(insert(instance), {"name": name, "value": b""})


async def names(database: Database) -> set[str]:
    async with database.read() as conn:
        return set((await conn.execute(select(instance.c.name))).scalars())


async def end_all_others(url: str) -> None:
    """Ends every connection to the database, as a restart of the server does."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """While the block runs, somebody else keeps all others out of a table."""
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


@asynccontextmanager
async def session_of_a_server(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A session as servers have them, in a transaction that has written."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "octohooks"})
    await connection.execute("BEGIN")
    await connection.execute("INSERT INTO instance (name, value) VALUES ('written', '')")
    yield connection
    connection.terminate()


async def test_a_commit_is_on_disk_before_it_is_told(database: Database) -> None:
    async with database.write() as conn:
        assert await conn.scalar(text("SHOW synchronous_commit")) == "on"


async def sessions(url: str) -> int:
    """How many connections servers have to the database."""
    connection = await asyncpg.connect(url)
    count = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'octohooks'"
    )
    await connection.close()
    return int(count)


async def test_connections_are_made_before_they_are_needed(
    database: PostgresDatabase, url: str
) -> None:
    await database.warm_up()
    assert await sessions(url) == 3


async def test_more_transactions_than_connections_take_turns(
    database: PostgresDatabase, url: str
) -> None:
    async def put_or_read(number: int) -> None:
        if number % 3 == 0:
            await database.run(lambda conn: put(conn, f"name {number}"))
        elif number % 3 == 1:
            await names(database)
        else:
            # It uses the driver alone, as hot statements do.
            async with database.write() as conn:
                driver: Any = (await conn.get_raw_connection()).driver_connection
                await driver.fetch("SELECT pg_sleep(0.001)")

    await asyncio.gather(*map(put_or_read, range(60)))
    assert len(await names(database)) == 20
    assert await sessions(url) == 3


async def test_connections_that_are_lost_while_idle_are_replaced(
    database: Database, url: str
) -> None:
    """At the very moment of the loss a call may meet it; what comes afterwards does not."""
    for attempt in range(10):
        assert len(await names(database)) == attempt
        await end_all_others(url)
        with suppress(Unavailable):
            await names(database)
        async with database.write() as conn:
            await put(conn, str(attempt))


async def test_a_connection_that_is_lost_in_a_transaction_is_unavailable_and_stores_nothing(
    database: Database, url: str
) -> None:

    async def write() -> None:
        async with database.write() as conn:
            await put(conn, "one")
            await end_all_others(url)
            await put(conn, "two")

    with pytest.raises(Unavailable) as refusal:
        await write()
    assert refusal.value.reason == "DATABASE_UNAVAILABLE"
    assert await names(database) == set()


async def test_a_lock_that_is_held_too_long_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql._LIMITS, "lock_timeout", "20")
    database = open_database(url)
    async with locked(url, "instance"):
        with pytest.raises(Unavailable):
            await names(database)
    assert await names(database) == set()
    await database.close()


async def test_two_transactions_that_wait_for_each_other_are_not_both_lost(
    database: Database,
) -> None:
    async with database.write() as conn:
        await put(conn, "a")
        await put(conn, "b")
    both_hold_one = asyncio.Barrier(2)

    async def take(first: str, second: str) -> None:
        async with database.write() as conn:
            for name in (first, second):
                await conn.execute(
                    select(instance).where(instance.c.name == name).with_for_update()
                )
                if name == first:
                    await both_hold_one.wait()

    results = await asyncio.gather(take("a", "b"), take("b", "a"), return_exceptions=True)
    assert sorted(map(type, results), key=str) == sorted([Unavailable, type(None)], key=str)


async def test_a_transaction_that_gets_no_connection_in_time_is_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "MOST_SECONDS_OF_WAITING", 0.2)
    database = open_database(url, connections=2)
    async with database.read(), database.read():
        with pytest.raises(Unavailable):
            await names(database)
    assert await names(database) == set()
    await database.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = open_database("postgresql://octohooks@127.0.0.1:1/octohooks")
    with pytest.raises(Unavailable):
        await names(database)
    await database.close()


async def test_a_database_that_does_not_exist_refuses(cluster: Cluster) -> None:
    database = open_database(cluster.url("nobody_made_it"))
    with pytest.raises(DatabaseRefuses, match="does not exist"):
        await database.run_migration(lambda connection: None)
    # Once servers run, it may have been put away for a moment.
    with pytest.raises(Unavailable):
        await names(database)
    await database.close()


async def test_what_takes_long_on_purpose_is_not_cut_off(
    database: PostgresDatabase, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Connected before, it is not in a hurry.
    await names(database)
    monkeypatch.setattr(postgresql, "_MOST_SECONDS_FOR_A_COMMAND", 1.0)
    monkeypatch.setitem(postgresql._LIMITS, "statement_timeout", "1000")
    hasty = open_database(url)
    assert isinstance(hasty, PostgresDatabase)
    with pytest.raises(Unavailable):
        async with hasty.write() as conn:
            await conn.execute(text("SELECT pg_sleep(3600)"))
    async with hasty.long_write() as conn:
        await conn.execute(text("SELECT pg_sleep(2)"))
        await put(conn, "one")
    await hasty.close()
    assert await names(database) == {"one"}


async def test_a_transaction_that_stands_still_gives_its_locks_up(
    database: PostgresDatabase, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a server does which was stopped in the middle of it."""
    # Connected before, it may stand still for longer.
    await names(database)
    monkeypatch.setitem(postgresql._LIMITS, "idle_in_transaction_session_timeout", "100")
    stopped = open_database(url)

    async def stand_still() -> None:
        async with stopped.write() as conn:
            await take_turn(conn, "a turn")
            async with database.write() as waiting:
                await take_turn(waiting, "a turn")
            await put(conn, "too late")

    with pytest.raises(Unavailable):
        await stand_still()
    assert await names(database) == set()
    await stopped.close()


async def test_a_plan_that_is_made_while_a_table_is_small_does_not_read_all_of_it(
    database: PostgresDatabase,
) -> None:
    """It is kept for longer than the table stays small."""
    async with database.write() as conn:
        for name in ("one", "two"):
            await put(conn, name)
        looking = "EXPLAIN SELECT value FROM instance WHERE name = 'one'"
        plan = [row[0] for row in await conn.execute(text(looking))]
    assert "Index Scan" in plan[0]


async def test_a_turn_that_is_taken_is_not_waited_for_unless_asked_to(url: str) -> None:
    one, other = open_database(url), open_database(url)
    async with one.write() as conn:
        assert await take_turn(conn, "a turn", wait=False)
        async with other.write() as waiting:
            assert not await take_turn(waiting, "a turn", wait=False)
            assert await take_turn(waiting, "another one", wait=False)
    async with other.write() as conn:
        assert await take_turn(conn, "a turn", wait=False)
    await one.close()
    await other.close()


async def test_what_is_told_is_heard_by_all_that_listen_also_after_a_lost_connection(
    database: PostgresDatabase, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_SECONDS_AFTER_A_FAILURE", 0.01)
    heard: list[str] = []
    connects = 0

    def connected() -> None:
        nonlocal connects
        connects += 1

    async def is_connected(times: int) -> bool:
        return connects >= times

    async def has_heard(*texts: str) -> bool:
        return heard == list(texts)

    listening = asyncio.create_task(database.listen(heard.append, connected))
    await eventually(lambda: is_connected(1))
    await database.tell("one")
    await eventually(lambda: has_heard("one"))

    await end_all_others(url)
    await eventually(lambda: is_connected(2))
    await database.tell("two")
    await eventually(lambda: has_heard("one", "two"))
    listening.cancel()
    await asyncio.wait([listening])


async def test_nothing_is_told_by_a_server_that_does_not_hear(database: PostgresDatabase) -> None:
    with pytest.raises(Unavailable):
        await database.tell("one")


# What PgBouncer takes of what a client says as it connects; for anything else it ends the
# connection, unless its administrator has listed it.
_KNOWN_TO_A_POOLER = {
    "user",
    "database",
    "application_name",
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
}


@asynccontextmanager
async def pooler(cluster: Cluster) -> AsyncIterator[int]:
    """A port that leads to the cluster, for connections that a pooler would take."""
    (socket,) = cluster.server.pgdata.glob(".s.PGSQL.*[0-9]")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readexactly(8)
            if head[4:] == (80877103).to_bytes(4):
                # It asked for TLS.
                writer.write(b"N")
                head = await reader.readexactly(8)
            rest = await reader.readexactly(int.from_bytes(head[:4]) - 8)
            named = {name.decode().lower() for name in rest.split(b"\0")[:-2:2]}
            if named <= _KNOWN_TO_A_POOLER:
                from_there, to_there = await asyncio.open_unix_connection(socket)
                to_there.write(head + rest)
                await asyncio.gather(_pass_on(reader, to_there), _pass_on(from_there, writer))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_pooler_is_told_nothing_that_it_may_not_know_and_limits_hold_all_the_same(
    cluster: Cluster, url: str
) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    async with pooler(cluster) as port:
        database = open_database(f"postgresql://postgres@127.0.0.1:{port}/{name}", connections=2)
        async with database.write() as conn:
            await put(conn, "one")
            for limit in ("lock_timeout", "statement_timeout"):
                assert await conn.scalar(text(f"SHOW {limit}")) != "0"
        await database.close()


async def test_the_first_of_several_hosts_that_can_be_written_to_is_used(
    cluster: Cluster, url: str
) -> None:
    """As libpq takes the URL, each host with its port."""
    name = url.partition("?")[0].rpartition("/")[2]
    async with pooler(cluster) as port:
        hosts = f"127.0.0.1:1,127.0.0.1:{port}"
        for scheme in ("postgresql", "postgres"):
            database = open_database(
                f"{scheme}://postgres@{hosts}/{name}?target_session_attrs=read-write"
            )
            async with database.write() as conn:
                await put(conn, scheme)
            assert scheme in await names(database)
            await database.close()


async def test_a_transaction_cancelled_at_its_beginning_holds_no_later_one(url: str) -> None:
    """One that was begun and forgotten would hold the next one, and never be committed."""
    database, other = open_database(url, connections=1), open_database(url)
    await names(database)
    for turns in range(40):
        cancelled = asyncio.create_task(_write_nothing(database))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        async with database.write() as conn:
            await put(conn, f"{turns}")
        assert f"{turns}" in await names(other)
    await database.close()
    await other.close()


async def _write_nothing(database: Database) -> None:
    async with database.read():
        pass
    async with database.write():
        pass


async def test_a_session_that_stands_still_before_its_statement_is_ended(
    database: PostgresDatabase, url: str
) -> None:
    """No timeout of PostgreSQL's goes on between the preparing of a statement and its run."""
    async with session_of_a_server(url) as frozen:
        await frozen.prepare("SELECT 1")
        assert await eventually(database.end_frozen_sessions) == 1
    async with database.write() as conn:
        await put(conn, "written")


async def test_a_session_that_takes_no_result_is_ended(
    database: PostgresDatabase, url: str
) -> None:
    """After longer than a statement may run, which here is at once."""
    async with database.write() as conn:
        await conn.execute(
            text(
                "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                " $$SELECT pg_catalog.clock_timestamp() + interval '1 minute'$$"
            )
        )
        await conn.execute(text("SET search_path = public, pg_catalog"))
    async with session_of_a_server(url) as frozen:
        transport: Any = frozen._transport
        transport.pause_reading()
        result = asyncio.create_task(frozen.execute("SELECT repeat('x', 10000000)"))
        assert await eventually(database.end_frozen_sessions) == 1
        transport.resume_reading()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await result


async def test_sessions_that_work_or_are_another_programs_are_left_alone(
    database: PostgresDatabase, url: str
) -> None:
    another = await asyncpg.connect(url, server_settings={"application_name": "psql"})
    await another.prepare("SELECT 1")
    async with session_of_a_server(url) as works:
        working = asyncio.create_task(works.execute("SELECT pg_sleep(3)"))
        while not working.done():
            assert await database.end_frozen_sessions() == 0
        await working
    assert not another.is_closed()
    await another.close()
