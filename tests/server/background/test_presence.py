"""The servers that deliver from one database know how many they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from octohooks_server.background import presence
from octohooks_server.background.presence import Presence
from octohooks_server.store import servers

from tests.server.store.world import World, seconds


class Server:
    """One that notes each count; the others hear of it at once."""

    def __init__(self, world: World, others: list["Server"]) -> None:
        self.counts: asyncio.Queue[int] = asyncio.Queue()
        self._others = others
        self.presence = Presence(
            world.database,
            clock=world.clock,
            counted=self.counts.put_nowait,
            tell_others=self._tell_others,
        )
        others.append(self)

    def _tell_others(self) -> None:
        for one in self._others:
            if one is not self:
                one.presence.look()

    async def until_counted(self, wanted: int) -> None:
        """Returns once it has counted so many."""
        while await self.counts.get() != wanted:
            pass

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Joins and goes on while the block runs; it is gone after that without a word."""
        await self.presence.join()
        task = asyncio.create_task(self.presence.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_each_knows_at_once_who_comes_and_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_SECONDS_BETWEEN_SIGNS_OF_LIFE", 3_600.0)
    all_of_them: list[Server] = []
    one, other = Server(world, all_of_them), Server(world, all_of_them)
    async with one.running():
        await one.until_counted(1)
        async with other.running():
            await other.until_counted(2)
            await one.until_counted(2)
        await other.presence.leave()
        await one.until_counted(1)


async def test_one_that_says_nothing_any_more_counts_for_ten_seconds(world: World) -> None:
    one, dead = Server(world, []), Server(world, [])
    await dead.presence.join()
    await one.presence.join()
    world.pass_time(9.9)
    await one.presence.join()
    world.pass_time(0.1)
    await one.presence.join()
    assert [one.counts.get_nowait() for _ in range(3)] == [2, 2, 1]
    # It has only been slow: then it counts again.
    await dead.presence.join()
    assert [dead.counts.get_nowait() for _ in range(2)] == [1, 2]


async def test_those_that_are_gone_for_long_are_forgotten(world: World) -> None:
    server = Server(world, [])
    await server.presence.join()
    async with world.database.write() as conn:
        await servers.remove_dead(conn, before=world.now + seconds(10))
        live_until = world.now + seconds(1)
        assert await servers.announce(conn, id="s", now=world.now, live_until=live_until) == 2
        await servers.remove_dead(conn, before=world.now + seconds(10.1))
        assert await servers.announce(conn, id="s", now=world.now, live_until=live_until) == 1
