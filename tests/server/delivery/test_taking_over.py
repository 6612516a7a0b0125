"""A server that delivers takes over what others have accepted."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import pytest
from octohooks_server.delivery import taking_over
from octohooks_server.delivery.taking_over import TakingOver
from octohooks_server.errors import Unavailable
from octohooks_server.store import hand_overs
from octohooks_server.store.database import Database
from octohooks_server.store.hand_overs import Taken

from tests.server.delivery.loop_rig import FlakyDatabase, LoopRig, running_loop
from tests.server.store.test_hand_overs import leave
from tests.server.store.world import World
from tests.waiting import eventually


class Delivering:
    """A server that delivers, and what it has offered."""

    def __init__(self, rig: LoopRig, database: Database) -> None:
        self.rig = rig
        self.offers: asyncio.Queue[set[str]] = asyncio.Queue()
        # How many attempts had begun at the time of each.
        self.posts_at_offers: list[int] = []
        self.taking_over = TakingOver(
            database, loop=rig.loop, clock=rig.world.clock, offer=self._note_offer
        )

    def _note_offer(self, full: Collection[str]) -> None:
        self.offers.put_nowait(set(full))
        self.posts_at_offers.append(len(self.rig.sender.posts))


@asynccontextmanager
async def delivering(
    world: World, database: Database | None = None, **bounds: Any
) -> AsyncIterator[Delivering]:
    """One that runs while the block does."""
    async with running_loop(world, **bounds) as rig:
        server = Delivering(rig, database or world.database)
        task = asyncio.create_task(server.taking_over.run())
        yield server
        server.taking_over.stop()
        await task


async def leave_one(world: World) -> None:
    """Accepts a message for one endpoint, and leaves its delivery."""
    application = await world.application()
    await world.endpoint(application)
    await leave(world, world.draft(application))


@pytest.fixture
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No search by time: a test waits for longer than it may take."""
    monkeypatch.setattr(taking_over, "_MOST_SECONDS_BETWEEN_LOOKS", 1_000.0)


@pytest.mark.usefixtures("only_when_told")
async def test_what_is_left_is_attempted_by_a_server_that_is_told(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with delivering(world) as server:
        assert await server.offers.get() == set()
        (left,) = await leave(world, world.draft(application, payload=b"[1]"))
        server.taking_over.look()
        post = await server.rig.sender.next_post()
        assert (post.message_id, post.body) == (left.message_id, b"[1]")
        post.answer()
        await server.rig.recorded()


@pytest.mark.usefixtures("only_when_told")
async def test_a_server_that_has_just_come_is_offered_something_at_once(world: World) -> None:
    async with delivering(world) as server:
        await server.offers.get()
        server.taking_over.meet()
        assert await server.offers.get() == set()


@pytest.mark.usefixtures("only_when_told")
async def test_what_is_left_soon_after_needs_no_telling(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with delivering(world) as server:
        for _ in range(3):
            server.taking_over.look()
            for _ in range(3):
                (left,) = await leave(world, world.draft(application))
                post = await server.rig.sender.next_post()
                assert post.message_id == left.message_id
                post.answer()
                await server.rig.recorded()


async def test_what_was_left_before_is_found_at_the_start(world: World) -> None:
    await leave_one(world)
    async with delivering(world) as server:
        (await server.rig.sender.next_post()).answer()
        await server.rig.recorded()


async def test_what_nobody_was_told_of_is_found_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "_MOST_SECONDS_BETWEEN_LOOKS", 0.01)
    application = await world.application()
    await world.endpoint(application)
    async with delivering(world) as server:
        await server.offers.get()
        await server.offers.get()
        await leave(world, world.draft(application))
        (await server.rig.sender.next_post()).answer()
        await server.rig.recorded()


async def test_what_an_endpoint_has_no_room_for_is_given_back_and_told(world: World) -> None:
    application = await world.application()
    slow = await world.endpoint(application, url="https://example.com/slow")
    other = await world.application()
    await world.endpoint(other, url="https://example.com/quick")
    async with delivering(world, max_in_flight=8, max_in_flight_per_endpoint=1) as server:
        await server.offers.get()
        left = await leave(world, *(world.draft(application) for _ in range(20)))
        await leave(world, world.draft(other))
        server.taking_over.look()
        while await server.offers.get() != {slow}:
            pass
        post = await server.rig.sender.next_post_to("https://example.com/quick")
        post.answer()
        # All of them arrive, as places become free.
        arrived = {one.message_id for one in server.rig.sender.posts} - {post.message_id}
        for one in server.rig.sender.posts:
            if one is not post:
                one.answer()
        while len(arrived) < len(left):
            one = await server.rig.sender.next_post()
            arrived.add(one.message_id)
            if not one.answered.done():
                one.answer()
        await server.rig.recorded(21)
    assert len(server.rig.sender.posts) == 21


@pytest.mark.usefixtures("only_when_told")
async def test_a_server_without_room_takes_nothing_and_offers_nothing(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with delivering(world) as server:
        await server.offers.get()
        server.rig.loop.stop_claiming()
        await leave(world, world.draft(application))
        server.taking_over.look()
        server.taking_over.stop()
    assert not server.rig.sender.posts
    assert server.offers.empty()
    # Another one finds it.
    async with delivering(world) as another:
        (await another.rig.sender.next_post()).answer()
        await another.rig.recorded()


async def test_a_database_that_is_away_ends_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "_SECONDS_AFTER_A_FAILURE", 0.01)
    await leave_one(world)
    flaky = FlakyDatabase(world.database)
    flaky.away = True

    async def was_refused() -> bool:
        return flaky.refusals > 1

    async with delivering(world, flaky) as server:
        await eventually(was_refused)
        assert server.offers.empty()
        flaky.away = False
        (await server.rig.sender.next_post()).answer()
        await server.rig.recorded()


async def test_what_was_taken_is_attempted_although_the_database_was_away_before_it_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_over, "_SECONDS_AFTER_A_FAILURE", 0.01)
    await leave_one(world)
    really_read = hand_overs.read
    refusals = [Unavailable("The database is away.")]

    async def read(*args: Any, **named: Any) -> Taken:
        if refusals:
            raise refusals.pop()
        return await really_read(*args, **named)

    monkeypatch.setattr(hand_overs, "read", read)
    async with delivering(world) as server:
        (await server.rig.sender.next_post()).answer()
        await server.rig.recorded()
    assert not refusals


async def test_what_was_taken_and_not_read_is_left_to_others_by_a_server_that_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leave_one(world)
    has_failed = asyncio.Event()

    async def fail(*args: Any, **named: Any) -> Taken:
        has_failed.set()
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(hand_overs, "read", fail)
        async with delivering(world):
            await has_failed.wait()
    async with delivering(world) as another:
        (await another.rig.sender.next_post()).answer()
        await another.rig.recorded()


@pytest.mark.usefixtures("only_when_told")
async def test_a_server_that_is_behind_offers_nothing(world: World) -> None:
    await leave_one(world)
    world.pass_time(1.5)
    async with delivering(world) as server:
        (await server.rig.sender.next_post()).answer()
        await server.rig.recorded()
        # Nothing with the look that found it, but with the next one.
        await server.offers.get()
        assert server.posts_at_offers == [1]
