"""Claiming deliveries, giving them back, and ending them early."""

from collections import Counter

import pytest
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    CANCEL_REASON_PAYLOAD_DELETED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks_server.store import deliveries, endpoints
from octohooks_server.store.tables import messages
from sqlalchemy import update

from tests.server.store.world import LEASE, World, seconds


async def test_what_is_due_is_claimed_with_all_that_an_attempt_needs(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(
        application, [seconds(0), seconds(7)], headers={"x-own": "1"}, rate_limit=9
    )
    (message,) = await world.send(application, payload=b'{"n": 1}', event_type="a.b")
    claimed = await world.claim_one()
    assert claimed.message_id == message
    assert claimed.payload == b'{"n": 1}'
    assert claimed.event_type == "a.b"
    assert (claimed.attempt_count, claimed.scheduled_count, claimed.manual) == (0, 0, False)
    assert claimed.lease_ends_at == world.now + LEASE
    destination = claimed.destination
    assert destination.endpoint_id == endpoint
    assert destination.application_id == application
    assert destination.environment_id == world.environment_id
    assert destination.url == "https://example.com/hook"
    assert destination.headers == {"x-own": "1"}
    assert destination.schedule == (seconds(0), seconds(7))
    assert destination.rate_limit == 9
    assert len(destination.secrets) == 1


async def test_nothing_is_claimed_before_its_time(world: World) -> None:
    application = await world.application()
    await world.endpoint(application, [seconds(5)])
    await world.send(application)
    world.pass_time(4.999999)
    assert not (await world.claim()).deliveries
    async with world.database.read() as conn:
        assert await deliveries.next_due_at(conn) == world.now + seconds(0.000001)
    world.pass_time(0.000001)
    assert len((await world.claim()).deliveries) == 1


async def test_a_claim_keeps_others_away_until_its_lease_ends(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    first = await world.claim_one()
    world.pass_time(LEASE.total_seconds() - 0.001)
    assert not (await world.claim()).deliveries
    world.pass_time(0.001)
    second = await world.claim_one()
    assert second.message_id == first.message_id
    assert second.claim > first.claim


async def test_those_that_are_due_longest_are_claimed_first(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    sent = []
    for _ in range(10):
        sent += await world.send(application)
        world.pass_time(1)
    claimed = await world.claim(limit=4)
    assert {one.message_id for one in claimed.deliveries} == set(sent[:4])
    assert claimed.has_more
    rest = await world.claim(limit=6)
    assert {one.message_id for one in rest.deliveries} == set(sent[4:])


async def test_no_more_is_claimed_of_an_endpoint_than_it_has_room_for(world: World) -> None:
    application = await world.application()
    rooms = {}
    for room in (0, 1, 3):
        rooms[await world.endpoint(application)] = room
    await world.send(application, count=5)
    claimed = await world.claim(room=rooms.__getitem__)
    assert Counter(one.destination.endpoint_id for one in claimed.deliveries) == {
        id: room for id, room in rooms.items() if room
    }
    assert claimed.has_more


async def test_a_claim_that_took_all_that_is_due_says_so(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=5)
    assert not (await world.claim()).has_more
    assert not (await world.claim()).has_more


async def test_the_backlog_of_one_endpoint_hides_no_other_endpoint_s_deliveries(
    world: World,
) -> None:
    """Twenty thousand that are due longer, and have no room, are jumped over."""
    dead_application = await world.application()
    dead = await world.endpoint(dead_application)
    for _ in range(20):
        await world.send(dead_application, count=1_000)
    world.pass_time(60)
    application = await world.application()
    alive = [await world.endpoint(application) for _ in range(20)]
    await world.send(application, count=2)

    claimed = await world.claim(limit=200, room=lambda id: 0 if id == dead else 40)
    assert Counter(one.destination.endpoint_id for one in claimed.deliveries) == dict.fromkeys(
        alive, 2
    )
    assert claimed.has_more
    # And what has no room is not forgotten either.
    claimed = await world.claim(limit=200, room=lambda id: 7)
    assert [one.destination.endpoint_id for one in claimed.deliveries] == [dead] * 7


async def test_endpoints_with_backlogs_that_have_room_all_get_their_share(world: World) -> None:
    ids = []
    for _ in range(40):
        application = await world.application()
        ids.append(await world.endpoint(application))
        await world.send(application, count=100)
        world.pass_time(1)
    left = dict.fromkeys(ids, 5)
    got: Counter[str] = Counter()
    while sum(left.values()):
        claimed = await world.claim(limit=50, room=left.__getitem__)
        assert claimed.deliveries
        for one in claimed.deliveries:
            left[one.destination.endpoint_id] -= 1
            got[one.destination.endpoint_id] += 1
        assert min(left.values()) >= 0
    assert got == dict.fromkeys(ids, 5)


async def test_a_claim_that_is_given_back_is_due_again_at_once(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=3)
    first = (await world.claim()).deliveries
    async with world.database.write() as conn:
        await deliveries.give_back(conn, first[:2], due_at=world.now)
    again = (await world.claim()).deliveries
    assert {one.message_id for one in again} == {one.message_id for one in first[:2]}
    assert all(one.attempt_count == 0 for one in again)


async def test_giving_back_an_old_claim_does_not_end_a_newer_one(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    old = await world.claim_one()
    world.pass_time(LEASE.total_seconds())
    new = await world.claim_one()
    async with world.database.write() as conn:
        await deliveries.give_back(conn, [old], due_at=world.now)
    assert not (await world.claim()).deliveries
    assert (await world.record_one(world.outcome(new, 200))).applied


async def test_giving_back_a_claim_does_not_revive_what_was_cancelled_after_its_lease(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    claimed = await world.claim_one()
    world.pass_time(LEASE.total_seconds())
    await cancel(world, endpoint_id=endpoint)
    async with world.database.write() as conn:
        await deliveries.give_back(conn, [claimed], due_at=world.now)
    assert not (await world.claim()).deliveries
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert not delivery.HasField("next_attempt_time")


@pytest.mark.parametrize(
    "reason", [CANCEL_REASON_ENDPOINT_DISABLED, CANCEL_REASON_ENDPOINT_DELETED]
)
async def test_what_is_due_for_an_endpoint_that_gets_nothing_more_is_cancelled_with_the_reason(
    world: World, reason: int
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    async with world.database.write() as conn:
        if reason == CANCEL_REASON_ENDPOINT_DELETED:
            await endpoints.mark_deleted(conn, id=endpoint, now=world.now)
        else:
            await endpoints.disable(conn, id=endpoint, reason=1, now=world.now)
    claimed = await world.claim()
    assert not claimed.deliveries
    assert claimed.changed_environments == {world.environment_id}
    delivery = await world.delivery(message, endpoint)
    assert (delivery.status, delivery.cancel_reason) == (DELIVERY_STATUS_CANCELLED, reason)
    (event,) = await world.events()
    assert event.event.cancelled_delivery.cancel_reason == reason
    assert not (await world.claim()).changed_environments


async def test_what_is_due_without_a_payload_is_cancelled_with_the_reason(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.execute(update(messages).values(payload=None))
    assert not (await world.claim()).deliveries
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert delivery.cancel_reason == CANCEL_REASON_PAYLOAD_DELETED


async def test_cancelling_ends_what_waits_and_leaves_what_is_being_attempted_to_its_outcome(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    under_way, waiting = await world.send(application, count=2)
    claimed = (await world.claim(limit=1)).deliveries[0]
    under_way, waiting = (
        (under_way, waiting) if claimed.message_id == under_way else (waiting, under_way)
    )
    assert await cancel(world, endpoint_id=endpoint) == 1
    assert (await world.delivery(waiting, endpoint)).status == DELIVERY_STATUS_CANCELLED
    assert (await world.delivery(under_way, endpoint)).status == DELIVERY_STATUS_PENDING
    await world.record_one(world.outcome(claimed, 200))
    assert (await world.delivery(under_way, endpoint)).status == DELIVERY_STATUS_SUCCEEDED


async def test_cancelling_goes_in_steps_of_the_limit(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await world.send(application, count=7)
    assert [await cancel(world, endpoint_id=endpoint, limit=3) for _ in range(4)] == [3, 3, 1, 0]
    events = await world.events()
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6, 7]


async def test_cancelling_a_message_ends_its_deliveries_to_all_endpoints(world: World) -> None:
    application = await world.application()
    for _ in range(3):
        await world.endpoint(application)
    one, other = await world.send(application, count=2)
    assert await cancel(world, message_id=one) == 3
    claimed = (await world.claim()).deliveries
    assert {delivery.message_id for delivery in claimed} == {other}


async def test_a_manual_attempt_is_due_at_once_whatever_the_schedule_says(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application, [seconds(3_600)])
    (message,) = await world.send(application)
    assert not (await world.claim()).deliveries
    await request_attempt(world, message, endpoint)
    claimed = await world.claim_one()
    assert claimed.manual
    assert claimed.scheduled_count == 0


async def test_a_manual_attempt_of_a_delivery_that_has_ended_is_made(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), 200))
    await request_attempt(world, message, endpoint)
    assert (await world.claim_one()).manual


async def cancel(world: World, limit: int = 100, **of: str) -> int:
    async with world.database.write() as conn:
        return await deliveries.cancel_pending(
            conn, reason=CANCEL_REASON_ENDPOINT_DISABLED, now=world.now, limit=limit, **of
        )


async def request_attempt(world: World, message: str, endpoint: str) -> None:
    async with world.database.write() as conn:
        await deliveries.request_attempt(
            conn, message_id=message, endpoint_id=endpoint, now=world.now
        )


async def test_a_delivery_that_has_succeeded_meanwhile_is_not_made_due_again(world: World) -> None:
    """A recovery reads which have failed; a manual attempt may succeed before it restarts them."""
    application = await world.application()
    endpoint = await world.endpoint(application)
    failed, succeeded = await world.send(application, 2)
    for claimed in (await world.claim()).deliveries:
        status = 500 if claimed.message_id == failed else 200
        await world.record_one(world.outcome(claimed, status, retry_in=None))
    async with world.database.write() as conn:
        keys = [(failed, endpoint), (succeeded, endpoint)]
        await deliveries.restart(conn, keys=keys, now=world.now)
    claimed_again = (await world.claim()).deliveries
    assert [one.message_id for one in claimed_again] == [failed]
    assert (await world.delivery(succeeded, endpoint)).status == DELIVERY_STATUS_SUCCEEDED
