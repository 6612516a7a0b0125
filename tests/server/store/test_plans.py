"""Each statement on the way of a message finds its rows by an index, however many there are."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from octohooks.v1.application_pb2 import Application
from octohooks.v1.job_pb2 import JobKind
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import (
    attempts,
    backlog,
    claims,
    deliveries,
    history,
    idempotency,
    jobs,
    payloads,
    purging,
    retirement,
)
from octohooks_server.store.acceptance import Accepted
from octohooks_server.store.columns import to_microseconds
from octohooks_server.store.database import (
    Database,
    PostgresDatabase,
    open_database,
)
from octohooks_server.store.deliveries import Scope
from octohooks_server.store.idempotency import KeyedRequest
from octohooks_server.store.jobs import JobRequest
from octohooks_server.store.messages import MessageFilter
from octohooks_server.store.migrations import migrate
from octohooks_server.store.purging import DeletedApplication, Purged
from octohooks_server.store.tables import metadata
from sqlalchemy import text

from benchmarks.history import History, statements
from tests.postgresql import Cluster
from tests.server.store.statements import statements_of_the_store
from tests.server.store.test_hand_overs import leave, take
from tests.server.store.world import NOON, World

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

_ROWS = 1_000_000
_CUSTOMERS = 20_000
# Whatever grows with the messages that were ever sent, and with the customers.
_LARGE = "messages|deliveries|attempts|cancellations|idempotent_answers"
_OF_CUSTOMERS = "applications|endpoints|endpoint_secrets"
# Nor is all that an environment has of these. An index of the endpoints to be retired holds few.
_WHOLE_TABLE = {
    "sqlite": re.compile(
        rf"SCAN ({_LARGE}|{_OF_CUSTOMERS})\b(?! USING INDEX endpoints_retiring)"
        rf"|({_OF_CUSTOMERS})_by_environment \(environment_id=\?\)"
    ),
    "postgresql": re.compile(
        rf"Seq Scan on ({_LARGE}|{_OF_CUSTOMERS}|hand_overs)\b"
        rf"|({_OF_CUSTOMERS})_by_environment\b.*\n *Index Cond: (?!.*\(id\))"
    ),
}


# How PostgreSQL goes about a statement whose parameters it does not look at.
_GENERIC_PLAN = """
CREATE FUNCTION generic_plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (GENERIC_PLAN) ' || statement;
END $$
"""


class Old:
    """A world in which a million messages have been delivered."""

    def __init__(self, world: World, kind: str, application: str, endpoint: str) -> None:
        self.world = world
        self.kind = kind
        self.application = application
        self.endpoint = endpoint

    @property
    def scope(self) -> Scope:
        """The environment."""
        return Scope(self.world.environment_id)

    async def assert_no_table_is_read_whole(self, seen: dict[str, Any]) -> None:
        """Fails for a statement whose plan goes through a table from end to end."""
        assert seen, "no statement was run"
        for statement, parameters in seen.items():
            for plan in await self._plans(statement, parameters):
                assert not _WHOLE_TABLE[self.kind].search(plan), f"{statement}\n\n{plan}"

    async def _plans(self, statement: str, parameters: Any) -> list[str]:
        """How the database goes about a statement: with these values, and with any."""
        async with self.world.database.read() as conn:
            # The driver itself begins nothing.
            await conn.execute(text("SELECT 1"))
            if self.kind == "sqlite":
                rows = await conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                return ["\n".join(row.detail for row in rows)]
            driver: Any = (await conn.get_raw_connection()).driver_connection
            # Where a table is small yet, it is seen whether an index could be used.
            await driver.execute("SET LOCAL enable_seqscan = off")
            found = [
                await driver.fetch(f"EXPLAIN {statement}", *parameters),
                await driver.fetch("SELECT generic_plan($1)", statement),
            ]
            return ["\n".join(row[0] for row in rows) for rows in found]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def old(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Old]:
    kind: str = request.param
    if kind == "sqlite":
        file = tmp_path_factory.mktemp("old") / "octohooks.db"
        database = open_database(f"sqlite:///{file}")
        yield await _filled(database, kind)
        await database.close()
        file.unlink()
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    async with cluster.database() as url:
        database = open_database(url)
        yield await _filled(database, kind)
        await database.close()


async def _filled(database: Database, kind: str) -> Old:
    await database.run_migration(migrate)
    world = await World.make(database)
    application = await world.application("acme")
    endpoint = await world.endpoint(application)
    history = History(world.environment_id, [(application, endpoint)], _ROWS)
    made = statements(history, now=to_microseconds(NOON), dialect=kind) + _customers(kind)
    if isinstance(database, PostgresDatabase):
        async with database.long_write() as conn:
            for statement in made:
                await conn.exec_driver_sql(statement)
        async with database.long_write() as conn:
            # As autovacuum does after a while.
            await conn.execute(text("ANALYZE"))
            await conn.execute(text(_GENERIC_PLAN))
    else:
        async with database.write() as conn:
            await conn.exec_driver_sql("PRAGMA cache_size = -200000")
            for statement in made:
                await conn.exec_driver_sql(statement)
    return Old(world, kind, application, endpoint)


def _customers(kind: str) -> list[str]:
    """The SQL that copies the customer that there is."""
    numbers = {
        "sqlite": (
            "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers"
            f" WHERE n < {_CUSTOMERS}) SELECT n FROM numbers)"
        ),
        "postgresql": f"generate_series(1, {_CUSTOMERS}) AS numbers(n)",
    }[kind]
    # What tells a copy from the others.
    own = {
        "applications": {"id", "uid"},
        "endpoints": {"id", "application_id"},
        "endpoint_secrets": {"endpoint_id"},
    }
    made = []
    for table, numbered in own.items():
        names = metadata.tables[table].c.keys()
        values = [f"{name} || n" if name in numbered else name for name in names]
        made.append(
            f"INSERT INTO {table} ({', '.join(names)})"
            f" SELECT {', '.join(values)} FROM {table}, {numbers}"
        )
    return made


async def test_acceptance_reads_no_table_whole(old: Old) -> None:
    world = old.world
    keyed = KeyedRequest(world.environment_id, b"k" * 32, b"r" * 32)
    inline = Application(id=world.ids.new(APPLICATION), uid="inline")
    with statements_of_the_store() as seen:
        results = await world.accept(
            world.draft("acme"),
            world.draft("acme", uid=world.ids.new("")),
            world.draft("acme", keyed=keyed),
            world.draft("inline", inline_application=inline),
        )
        async with world.database.read() as conn:
            await idempotency.is_used(conn, keyed, now=world.now)
    assert all(isinstance(result, Accepted) for result in results)
    await old.assert_no_table_is_read_whole(seen)


async def test_delivery_reads_no_table_whole(old: Old) -> None:
    world = old.world
    await world.send("acme", 30)
    with statements_of_the_store() as seen:
        async with world.database.read() as conn:
            await claims.next_due_at(conn)
        # Fewer than are due, and then those that wait behind an endpoint without room.
        few = (await world.claim(limit=10)).deliveries
        more = (await world.claim(limit=5, room=lambda endpoint: 0)).deliveries
        async with world.database.write() as conn:
            await claims.give_back(conn, few[5:], due_at=world.now)
        outcomes = [world.outcome(few[0], 200), world.outcome(few[1], 500)]
        results = await world.record(*outcomes)
    assert (len(few), len(more), [one.applied for one in results]) == (
        10,
        0,
        [True, True],
    )
    await old.assert_no_table_is_read_whole(seen)


async def test_to_hand_over_reads_no_table_whole(old: Old) -> None:
    world = old.world
    with statements_of_the_store() as seen:
        (left,) = await leave(world, world.draft(old.application))
        taken = await take(world)
    assert [one.message_id for one in taken.deliveries] == [left.message_id]
    await old.assert_no_table_is_read_whole(seen)


async def test_what_observers_are_told_reads_no_table_whole(old: Old) -> None:
    world = old.world
    with statements_of_the_store() as seen:
        async with world.database.read() as conn:
            await backlog.count_due(conn, now=world.now, most=10_000)
            await backlog.newest_events(conn, [world.environment_id])
    await old.assert_no_table_is_read_whole(seen)


async def test_the_end_of_an_endpoint_reads_no_table_whole(old: Old) -> None:
    world = old.world
    application = await world.application("short-lived")
    endpoint = await world.endpoint(application)
    await world.send(application, 3)
    with statements_of_the_store() as seen:
        (claimed,) = (await world.claim(limit=1, room=lambda id: int(id == endpoint))).deliveries
        await world.record(world.outcome(claimed, 410))
        async with world.database.write() as conn:
            await retirement.retire(
                conn,
                environment_id=world.environment_id,
                endpoint_id=endpoint,
                reason=1,
                now=world.now,
            )
            await retirement.is_due(conn)
            await retirement.continue_one(conn, now=world.now)
    await old.assert_no_table_is_read_whole(seen)


async def test_a_watch_reads_no_table_whole(old: Old) -> None:
    world = old.world
    with statements_of_the_store() as seen:
        async with world.database.read() as conn:
            events = await attempts.read_events(
                conn, environment_id=world.environment_id, after=_ROWS // 2, limit=200
            )
            position = await attempts.position_before(
                conn,
                environment_id=world.environment_id,
                time=NOON - timedelta(days=1, seconds=10),
                oldest=0,
                newest=_ROWS,
            )
    assert len(events) == 200
    assert _ROWS - 10_100 < position < _ROWS - 9_900
    await old.assert_no_table_is_read_whole(seen)


async def test_lists_read_no_table_whole(old: Old) -> None:
    world = old.world
    with statements_of_the_store() as seen:
        async with world.database.read() as conn:
            for scope in (
                old.scope,
                Scope(world.environment_id, old.application),
                Scope(world.environment_id, old.application, endpoint_id=old.endpoint),
            ):
                await attempts.list_page(
                    conn,
                    scope=scope,
                    outcomes=(),
                    matching=MessageFilter(),
                    before=None,
                    limit=50,
                )
                await deliveries.list_page(
                    conn,
                    scope=scope,
                    statuses=(),
                    matching=MessageFilter(),
                    before=None,
                    limit=50,
                )
    await old.assert_no_table_is_read_whole(seen)


async def test_what_callers_ask_to_be_sent_again_reads_no_table_whole(old: Old) -> None:
    world = old.world
    (message,) = await world.send("acme")
    with statements_of_the_store() as seen:
        async with world.database.write() as conn:
            of_delivery = {
                "environment_id": world.environment_id,
                "message_id": message,
                "endpoint_id": old.endpoint,
            }
            await deliveries.request_attempt(conn, **of_delivery, now=world.now)
            key = (world.environment_id, message, old.endpoint)
            await deliveries.restart(conn, keys=[key], now=world.now)
            await deliveries.get(conn, **of_delivery)
            for kind in (JobKind.JOB_KIND_RECOVER, JobKind.JOB_KIND_REPLAY):
                await jobs.create(
                    conn,
                    id=world.ids.new("job_"),
                    request=JobRequest(
                        environment_id=world.environment_id,
                        application_id=old.application,
                        endpoint_id=old.endpoint,
                        kind=kind,
                        since=NOON - timedelta(hours=1),
                        until=NOON + timedelta(hours=1),
                    ),
                    now=world.now,
                )
                await jobs.advance_one(conn, now=world.now, limit=10)
    await old.assert_no_table_is_read_whole(seen)


async def test_what_comes_to_its_end_is_found_without_reading_a_table_whole(
    old: Old,
) -> None:
    world = old.world
    (message,) = await world.send("acme")
    with statements_of_the_store() as seen:
        async with world.database.write() as conn:
            await payloads.delete_on_request(
                conn,
                environment_id=world.environment_id,
                message_id=message,
                now=world.now,
            )
            await payloads.delete_expired(conn, now=NOON, limit=200)
            await idempotency.remove_expired(conn, now=NOON, limit=100)
    await old.assert_no_table_is_read_whole(seen)


async def test_cleaning_and_purging_read_no_table_whole(old: Old) -> None:
    world = old.world
    of_deleted = DeletedApplication(old.application, world.environment_id)
    with statements_of_the_store() as seen:
        async with world.database.write() as conn:
            cleaned = await history.clean_events(
                conn, environment_id=world.environment_id, before=NOON, limit=10
            )
            await history.clean_messages(conn, after="", before=NOON, limit=10)
            await history.delete_messages(conn, [world.ids.new("msg_")])
            await purging.next_application(conn, after="", deleted_before=NOON)
            purged = await purging.purge_application(conn, application=of_deleted, limit=10)
    assert cleaned == 10
    assert purged is Purged.MORE
    await old.assert_no_table_is_read_whole(seen)
