"""What is read of the database for those who observe a server."""

from collections.abc import Mapping
from datetime import datetime

import pytest
from octohooks_server.observation import backlog as backlog_readings
from octohooks_server.observation.backlog import Backlog, Reading
from octohooks_server.store import backlog
from octohooks_server.store.backlog import Due
from octohooks_server.store.database import open_database

from tests.server.store.world import NOON, World, seconds


async def count_due(world: World, now: datetime, most: int = 100) -> Due:
    async with world.database.read() as conn:
        return await backlog.count_due(conn, now=now, most=most)


def following(world: World, watched: Mapping[str, int] | None = None) -> Backlog:
    """The backlog as an observer follows it."""
    return Backlog(world.database, world.clock, lambda: watched or {})


async def test_what_is_due_and_unclaimed_is_counted_from_the_oldest_on(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    assert await count_due(world, NOON) == Due(0, None)
    await world.send(application)
    world.pass_time(30)
    await world.send(application, 2)
    assert await count_due(world, world.now) == Due(3, NOON)
    assert await count_due(world, world.now, most=2) == Due(2, NOON)
    await world.claim()
    assert await count_due(world, world.now) == Due(0, None)


async def test_what_is_due_later_is_not_counted(world: World) -> None:
    application = await world.application()
    await world.endpoint(application, schedule=[seconds(60)])
    await world.send(application)
    assert await count_due(world, NOON + seconds(59)) == Due(0, None)
    assert await count_due(world, NOON + seconds(60)) == Due(1, NOON + seconds(60))


async def test_the_age_of_the_oldest_due_delivery_is_told(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    world.pass_time(90)
    reader = following(world)
    await reader.refresh()
    assert reader.last == Reading(due=1, oldest_due_age_seconds=90, watch_lag=0)


async def test_the_lag_is_that_of_the_watch_that_is_furthest_behind(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    other = await world.environment()
    await world.send(application, 3)
    for delivery in (await world.claim()).deliveries:
        await world.record_one(world.outcome(delivery))
    reader = following(world, {world.environment_id: 1, other: 0})
    await reader.refresh()
    assert reader.last is not None
    assert reader.last.watch_lag == 2


async def test_the_database_is_asked_no_more_often_than_every_few_seconds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = await world.application()
    await world.endpoint(application)
    reader = following(world)
    await reader.refresh()
    await world.send(application)
    await reader.refresh()
    assert reader.value(lambda one: one.due)() == 0
    monkeypatch.setattr(backlog_readings, "_SECONDS_BETWEEN_READINGS", 0.0)
    reader = following(world)
    for count in (1, 2):
        await reader.refresh()
        assert reader.value(lambda one: one.due)() == count
        await world.send(application)


@pytest.mark.one_database_is_enough
async def test_a_database_that_is_away_is_no_error_and_tells_nothing() -> None:
    database = open_database("sqlite:////nowhere/octohooks.db")
    reader = Backlog(database, lambda: NOON, dict)
    await reader.refresh()
    assert reader.last is None
    await database.close()
