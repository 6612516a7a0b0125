"""The servers on a database clean it in one round after another, whichever of them comes next."""

from datetime import timedelta

import pytest
from octohooks_server.background import cleaning
from octohooks_server.background.cleaning import Cleaning

from tests.server.store.world import World

RETENTION = timedelta(days=100)


def a_server(world: World) -> Cleaning:
    return Cleaning(world.database, clock=world.clock, history_retention=RETENTION)


async def deliver(world: World, count: int) -> None:
    """Sends messages that arrive."""
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=count)
    for claimed in (await world.claim()).deliveries:
        await world.record_one(world.outcome(claimed, 200))


async def to_the_end(server: Cleaning) -> None:
    """Goes on until nothing is left to do."""
    while await server.clean_history():
        pass


async def test_one_server_goes_on_where_another_one_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_ROWS_AT_ONCE", 2)
    await deliver(world, 6)
    world.now += RETENTION + timedelta(hours=1)
    servers = [a_server(world) for _ in range(3)]
    for number, server in enumerate(servers):
        await server.clean_history()
        assert len(await world.events()) == 4 - 2 * number


async def test_a_round_begins_once_an_hour_and_not_once_for_each_server(world: World) -> None:
    one, other = a_server(world), a_server(world)
    await deliver(world, 1)
    await to_the_end(one)
    world.now += RETENTION
    await to_the_end(other)
    assert len(await world.events()) == 1
    world.pass_time(1)
    await to_the_end(one)
    await to_the_end(other)
    assert len(await world.events()) == 1
    world.pass_time(3_600)
    await to_the_end(other)
    assert not await world.events()
