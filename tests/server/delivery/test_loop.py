"""What is due is attempted at its time, and what came of it is recorded."""

import asyncio
from datetime import timedelta

import pytest
from octohooks.v1.delivery_pb2 import (
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks_server.delivery import attempts
from octohooks_server.delivery import loop as loop_module
from octohooks_server.store import claims, endpoints
from octohooks_server.store.acceptance import Accepted, accept
from structlog.testing import capture_logs

from tests.server.delivery.loop_rig import FlakyDatabase, LoopRig, running_loop
from tests.server.store.world import LEASE, World, seconds


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests moves by itself, so it is looked at often."""
    monkeypatch.setattr(loop_module, "_MOST_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(loop_module, "_LEAST_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(loop_module, "_SECONDS_AFTER_A_FAILURE", 0.01)
    monkeypatch.setattr(attempts, "_SECONDS_AFTER_A_FAILURE", 0.01)


@pytest.fixture
def only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look comes by the passing of time."""
    monkeypatch.setattr(loop_module, "_MOST_SECONDS_BETWEEN_LOOKS", 3_600.0)


async def a_turn() -> None:
    """Lets everything that is ready run, and what the database has answered."""
    await asyncio.sleep(0.001)


async def a_look(rig: LoopRig) -> None:
    """Returns after the loop has looked at what is due now: it has attempted another delivery."""
    application = await rig.world.application()
    await rig.world.endpoint(application, url="https://look.example.com/")
    await rig.world.send(application)
    while (post := await rig.sender.next_post()).url != "https://look.example.com/":
        pytest.fail(f"{post.message_id} was attempted before its time")
    post.answer()
    await rig.recorded()


async def test_what_is_due_is_attempted_and_its_outcome_recorded(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application, payload=b"[1]")
    async with running_loop(world) as rig:
        post = await rig.sender.next_post()
        assert (post.message_id, post.body) == (message, b"[1]")
        post.answer()
        await rig.recorded()
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.attempt_count == 1


@pytest.mark.usefixtures("only_when_woken")
async def test_what_acceptance_claimed_is_attempted_without_a_look(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with running_loop(world) as rig:
        claimed = await rig.accept_and_hand_over(world.draft(application))
        assert len(claimed) == 1
        (await rig.sender.next_post()).answer()
        await rig.recorded()


async def test_a_failure_is_tried_again_at_its_time_and_not_before(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application, [seconds(0), seconds(5), seconds(300)])
    (message,) = await world.send(application)
    async with running_loop(world) as rig:
        for wait in (5, 300):
            (await rig.sender.next_post()).answer(500)
            await rig.recorded()
            world.pass_time(wait - 0.001)
            await a_look(rig)
            world.pass_time(0.001)
        (await rig.sender.next_post()).answer(500)
        await rig.recorded()
    assert (await world.delivery(message, endpoint)).status == DELIVERY_STATUS_FAILED
    assert [event.event.attempt.number for event in await world.events()][-1] == 3


@pytest.mark.usefixtures("only_when_woken")
async def test_a_retry_that_is_due_at_once_needs_no_look_by_time(world: World) -> None:
    application = await world.application()
    await world.endpoint(application, [seconds(0)] * 3)
    async with running_loop(world) as rig:
        await rig.accept_and_hand_over(world.draft(application))
        await rig.sender.answer_all(3, status=500)
        await rig.recorded(3)


@pytest.mark.usefixtures("only_when_woken")
async def test_who_makes_a_delivery_due_can_wake_the_loop(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with running_loop(world) as rig:
        await rig.accept_and_hand_over(world.draft(application))
        (await rig.sender.next_post()).answer()
        await rig.recorded()
        (message,) = await world.send(application)
        rig.loop.look()
        assert (await rig.sender.next_post()).message_id == message


async def test_a_claim_that_waited_too_long_is_not_attempted_but_claimed_anew(
    world: World,
) -> None:
    """Its attempt could still be under way when another server claims the delivery."""
    application = await world.application()
    endpoint = await world.endpoint(application)
    first, second = (world.draft(application) for _ in range(2))
    async with running_loop(world, max_in_flight_per_endpoint=1) as rig:
        claimed = await rig.accept_and_hand_over(first, second)
        assert len(claimed) == 2
        post = await rig.sender.next_post()
        assert post.message_id == first.message.id
        # An attempt that began now could outlast the lease, and could not when it was claimed.
        world.pass_time(LEASE.total_seconds() - 10)
        post.answer()
        await rig.recorded()
        again = await rig.sender.next_post()
        assert again.message_id == second.message.id
        async with world.database.read() as conn:
            assert await claims.next_due_at(conn) == world.now + LEASE
        again.answer()
        await rig.recorded()
    for message in (first.message.id, second.message.id):
        delivery = await world.delivery(message, endpoint)
        assert delivery.status == DELIVERY_STATUS_SUCCEEDED
        assert delivery.attempt_count == 1
    assert len(rig.sender.posts) == 2


async def test_a_delivery_under_way_is_not_attempted_a_second_time(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    async with running_loop(world) as rig:
        await rig.accept_and_hand_over(world.draft(application))
        post = await rig.sender.next_post()
        world.pass_time(LEASE.total_seconds() - 1)
        await a_look(rig)
        post.answer()
        await rig.recorded()
    assert [one.url for one in rig.sender.posts].count(post.url) == 1


async def test_an_outcome_survives_a_database_that_is_away(world: World) -> None:
    flaky = FlakyDatabase(world.database)
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    async with running_loop(world, database=flaky) as rig:
        post = await rig.sender.next_post()
        flaky.away = True
        with capture_logs() as logs:
            post.answer()
            # Looks fail too; after several of them it comes back.
            while len([one for one in logs if one["event"] == "claiming_failed"]) < 3:
                await a_turn()
        flaky.away = False
        await rig.recorded()
        await a_look(rig)
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.attempt_count == 1
    assert [one.message_id for one in rig.sender.posts].count(message) == 1


async def test_a_defect_of_the_sender_costs_one_attempt_and_not_the_loop(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    async with running_loop(world) as rig:
        with capture_logs() as logs:
            (await rig.sender.next_post()).break_down(ZeroDivisionError())
            await a_look(rig)
        assert "attempt_failed_unexpectedly" in [one["event"] for one in logs]
        assert (await world.delivery(message, endpoint)).status == DELIVERY_STATUS_PENDING
        # It falls due again when its claim ends.
        world.pass_time(LEASE.total_seconds())
        (await rig.sender.next_post()).answer()
        await rig.recorded()
    assert (await world.delivery(message, endpoint)).status == DELIVERY_STATUS_SUCCEEDED


async def test_what_waits_for_an_endpoint_that_changed_is_claimed_anew_as_it_is_now(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application, url="https://old.example.com/")
    async with running_loop(world, max_in_flight_per_endpoint=1) as rig:
        await rig.accept_and_hand_over(*(world.draft(application) for _ in range(3)))
        under_way = await rig.sender.next_post()
        changed = Endpoint()
        changed.CopyFrom(await world.endpoint_now(application, endpoint))
        changed.url = "https://new.example.com/"
        async with world.database.write() as conn:
            await endpoints.store_update(
                conn, environment_id=world.environment_id, endpoint=changed, now=world.now
            )
        rig.loop.recall([endpoint])
        under_way.answer()
        later = await rig.sender.answer_all(2)
        await rig.recorded(3)
    assert under_way.url == "https://old.example.com/"
    assert [post.url for post in later] == ["https://new.example.com/"] * 2


async def test_draining_finishes_what_is_under_way_and_gives_back_what_waits(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    drafts = [world.draft(application) for _ in range(3)]
    async with running_loop(world, max_in_flight_per_endpoint=1) as rig:
        await rig.accept_and_hand_over(*drafts)
        post = await rig.sender.next_post()
        rig.loop.stop_claiming()
        draining = asyncio.create_task(rig.loop.drain(seconds(3_600)))
        # Given back: a look of another server finds it, an hour's lease or not.
        while await rig.claimed_count() > 1:
            await a_turn()
        # What acceptance claimed before it knew is given back as well.
        late = world.draft(application)
        async with world.database.write() as conn:
            (accepted,) = await accept(
                conn, [late], now=world.now, lease=LEASE, may_claim=lambda _: True
            )
        assert isinstance(accepted, Accepted)
        rig.loop.hand_over(accepted.claimed)
        post.answer()
        await draining
        assert await rig.recorded()
    assert len(rig.sender.posts) == 1
    claimed = {one.message_id for one in (await world.claim()).deliveries}
    assert claimed == {draft.message.id for draft in (*drafts, late)} - {post.message_id}
    delivery = await world.delivery(post.message_id, endpoint)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED


async def test_draining_cuts_off_what_outlasts_the_grace_time(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    async with running_loop(world) as rig:
        await rig.accept_and_hand_over(world.draft(application))
        post = await rig.sender.next_post()
        rig.loop.stop_claiming()
        await rig.loop.drain(timedelta(0))
        assert post.answered.cancelled()
    delivery = await world.delivery(post.message_id, endpoint)
    assert delivery.status == DELIVERY_STATUS_PENDING
    assert delivery.attempt_count == 0
    # It falls due again when its claim ends.
    world.pass_time(LEASE.total_seconds())
    assert (await world.claim_one()).message_id == post.message_id


async def test_what_was_claimed_while_its_endpoint_changed_is_claimed_anew(world: World) -> None:
    """The claim may have read the endpoint before the change, and commits after it."""
    application = await world.application()
    endpoint = await world.endpoint(application, url="https://example.com/old")
    await world.send(application)
    (claimed,) = (await world.claim()).deliveries
    world.pass_time(0.001)
    async with world.database.write() as conn:
        changed = await endpoints.get(conn, application_id=application, reference=endpoint)
        changed.url = "https://example.com/new"
        await endpoints.store_update(
            conn, environment_id=world.environment_id, endpoint=changed, now=world.now
        )
    async with running_loop(world) as rig:
        rig.loop.recall([endpoint])
        rig.loop.hand_over([claimed])
        post = await rig.sender.next_post()
        assert post.url == "https://example.com/new"
        post.answer()
        await rig.recorded()
