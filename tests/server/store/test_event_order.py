"""Events become visible in the order of their numbers, however late a commit lands."""

import asyncio
from datetime import timedelta

from octohooks_server.store import environments
from octohooks_server.store.database import Database, open_database
from octohooks_server.store.outcomes import record_outcomes

from tests.server.store.world import World


async def test_a_commit_that_lands_late_cannot_slip_behind_what_was_read(
    world: World, database_url: str
) -> None:
    """One server holds its transaction open; what another one records has to come after it."""
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, 3)
    first, second, third = (await world.claim()).deliveries
    await world.record_one(world.outcome(first, 200))
    before = [one.sequence for one in await world.events()]
    other = open_database(database_url)

    async def record_elsewhere() -> None:
        async with other.write() as conn:
            await record_outcomes(conn, [world.outcome(third, 200)], now=world.now, ids=world.ids)

    async with world.database.write() as conn:
        await record_outcomes(conn, [world.outcome(second, 200)], now=world.now, ids=world.ids)
        late = asyncio.create_task(record_elsewhere())
        await _until_a_statement_waits(other)
        # Neither of the two is seen, although the second one could have been quicker.
        assert [one.sequence for one in await world.events()] == before
        assert not late.done()
    await late
    after = [(one.sequence, one.message_id) for one in await world.events()]
    assert after[len(before) :] == [
        (before[-1] + 1, second.message_id),
        (before[-1] + 2, third.message_id),
    ]
    await other.close()


async def _until_a_statement_waits(database: Database) -> None:
    """Gives the database every chance to run what is under way."""
    for _ in range(20):
        async with database.read() as conn:
            await conn.exec_driver_sql("SELECT 1")


async def test_the_times_of_events_never_go_back_although_the_clocks_of_servers_differ(
    world: World,
) -> None:
    async with world.database.write() as conn:
        _, ahead = await environments.take_sequences(
            conn,
            environment_id=world.environment_id,
            count=1,
            now=world.now + timedelta(seconds=5),
        )
        number, behind = await environments.take_sequences(
            conn, environment_id=world.environment_id, count=2, now=world.now
        )
        _, later = await environments.take_sequences(
            conn,
            environment_id=world.environment_id,
            count=1,
            now=world.now + timedelta(seconds=9),
        )
    assert number == 2
    assert (behind - ahead, later - ahead) == (timedelta(0), timedelta(seconds=4))
