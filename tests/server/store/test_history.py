"""What cleaning and purging read is found by an index, however much there is."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from octohooks_server.store import history, purging
from octohooks_server.store.database import Database
from octohooks_server.store.purging import DeletedApplication, Purged
from octohooks_server.store.tables import environments, messages
from sqlalchemy import Engine, event, select, update

from tests.server.store.world import World

_LARGE = ("attempts", "cancellations", "deliveries", "messages", "endpoints", "applications")


@contextmanager
def executed() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed while the block runs, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        found.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def plans_of(database: Database, statements: list[tuple[str, Any]]) -> list[str]:
    """How SQLite goes about statements, a line for each table."""
    lines: list[str] = []
    async with database.read() as conn:
        for statement, parameters in statements:
            if statement.startswith(("SELECT", "DELETE", "UPDATE")):
                plan = await conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                lines += [row.detail for row in plan]
    return lines


# The plans of SQLite do not depend on what the tables hold; those of PostgreSQL are looked at in
# `test_plans`, beside a million messages.
@pytest.mark.one_database_is_enough
async def test_no_step_looks_through_a_table(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await world.send(application, count=3)
    for claimed in (await world.claim()).deliveries:
        await world.record_one(world.outcome(claimed, 200))
    await world.execute(update(messages).values(payload=None))
    later = world.now + timedelta(days=1)
    of_deleted = DeletedApplication(application, world.environment_id)
    with executed() as statements:
        async with world.database.write() as conn:
            assert await history.next_environment(conn, after="") == world.environment_id
            cleaned = await history.clean_events(
                conn, environment_id=world.environment_id, before=later, limit=2
            )
            assert cleaned == 2
            await history.clean_messages(conn, after="", before=later, limit=10)
            await purging.next_application(conn, after="", deleted_before=later)
            await purging.next_environment(conn, after="", deleted_before=later)
            steps = 1
            while (
                await purging.purge_application(conn, application=of_deleted, limit=1)
                is Purged.MORE
            ):
                steps += 1
            # An attempt, the message that it is of, the endpoint, and the application itself.
            assert steps == 4
            await purging.purge_environment(conn, id=world.environment_id, limit=1)
    assert endpoint in str(statements)
    plans = await plans_of(world.database, statements)
    assert not [line for line in plans if line.startswith("SCAN") and _is_large(line)]
    assert [line for line in plans if line.startswith("SEARCH attempts")]


def _is_large(line: str) -> bool:
    return line.split()[1] in _LARGE


async def test_the_only_environment_leaves_a_sign_that_there_was_one(world: World) -> None:
    async with world.database.write() as conn:
        assert await purging.purge_environment(conn, id=world.environment_id, limit=1) in Purged
        ids = (await conn.scalars(select(environments.c.id))).all()
    assert ids == [world.environment_id]


async def test_a_purge_waits_for_what_is_under_way(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    claimed = await world.claim_one()
    of_deleted = DeletedApplication(application, world.environment_id)
    async with world.database.write() as conn:
        assert (
            await purging.purge_application(conn, application=of_deleted, limit=9) is Purged.WAITS
        )
    assert (await world.record_one(world.outcome(claimed, 200))).applied
    async with world.database.write() as conn:
        assert await purging.purge_application(conn, application=of_deleted, limit=9) is Purged.MORE
    assert not await world.events()
