"""Deliveries that one server claims in accepting them, and another one takes."""

import asyncio
from collections.abc import Sequence
from typing import Any

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks_server.store import endpoints, hand_overs
from octohooks_server.store.acceptance import Accepted, Draft, accept
from octohooks_server.store.due import DueDelivery
from octohooks_server.store.hand_overs import Taken
from octohooks_server.store.tables import messages
from sqlalchemy import update

from tests.server.store.test_claims import disable
from tests.server.store.world import LEASE, World, seconds


async def leave(world: World, *drafts: Draft) -> list[DueDelivery]:
    """Accepts together, and leaves all that is due at once; answers what that is."""
    results = await world.accept(*drafts, may_claim=lambda _: True, hands_over=True)
    return [
        delivery
        for result in results
        if isinstance(result, Accepted)
        for delivery in result.claimed
    ]


async def take(world: World) -> Taken:
    """Takes the ten oldest, as a server that delivers."""
    taken = await world.database.run_one_change(lambda conn: hand_overs.take(conn, most=10))
    return await world.database.run_one_change(
        lambda conn: hand_overs.read(conn, taken, now=world.now)
    )


def without_destinations(deliveries: Sequence[DueDelivery]) -> dict[tuple[str, str], Any]:
    """What is known of deliveries, but for their endpoints."""
    return {
        (one.message_id, one.destination.endpoint_id): one._replace(destination=None)  # type: ignore[arg-type]
        for one in deliveries
    }


async def test_what_is_left_is_taken_with_all_that_an_attempt_needs(world: World) -> None:
    application = await world.application()
    for number in range(2):
        await world.endpoint(application, [seconds(0), seconds(7)], rate_limit=number)
    left = await leave(world, *(world.draft(application, payload=b"[%d]" % n) for n in range(3)))
    world.pass_time(0.5)
    taken = await take(world)
    assert len(left) == 6
    assert without_destinations(taken.deliveries) == without_destinations(left)
    assert {one.destination.read_at for one in taken.deliveries} == {world.now}
    assert {one.destination.rate_limit for one in taken.deliveries} == {0, 1}
    assert not taken.left_due


async def test_nobody_finds_due_what_was_left(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await leave(world, world.draft(application))
    assert not (await world.claim()).deliveries


async def test_what_comes_of_a_taken_delivery_is_recorded(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await leave(world, world.draft(application))
    (delivery,) = (await take(world)).deliveries
    recorded = await world.record_one(world.outcome(delivery, 200))
    assert recorded.applied
    stored = await world.delivery(delivery.message_id, endpoint)
    assert (stored.status, stored.attempt_count) == (DELIVERY_STATUS_SUCCEEDED, 1)


async def test_servers_that_take_at_the_same_time_never_take_the_same(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    left = [one for _ in range(15) for one in await leave(world, world.draft(application))]
    taken = await asyncio.gather(*(take(world) for _ in range(4)))
    ids = [delivery.message_id for one in taken for delivery in one.deliveries]
    ids += [delivery.message_id for delivery in (await take(world)).deliveries]
    assert sorted(ids) == sorted(delivery.message_id for delivery in left)


async def test_the_oldest_are_taken_first(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    left = [one for _ in range(12) for one in await leave(world, world.draft(application))]
    first, second = await take(world), await take(world)
    assert {one.message_id for one in first.deliveries} == {one.message_id for one in left[:10]}
    assert {one.message_id for one in second.deliveries} == {one.message_id for one in left[10:]}


async def test_what_nobody_takes_falls_due_when_its_claim_ends(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    (left,) = await leave(world, world.draft(application))
    world.pass_time(LEASE.total_seconds())
    assert not (await take(world)).deliveries
    claimed = await world.claim_one()
    assert (claimed.message_id, claimed.claim) == (left.message_id, left.claim + 1)


async def test_a_change_since_it_was_left_counts(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await leave(world, world.draft(application))
    async with world.database.write() as conn:
        changed = await endpoints.get(conn, application_id=application, reference=endpoint)
        changed.url = "https://example.com/new"
        await endpoints.store_update(
            conn, environment_id=world.environment_id, endpoint=changed, now=world.now
        )
    (delivery,) = (await take(world)).deliveries
    assert delivery.destination.url == "https://example.com/new"


async def test_what_can_no_longer_be_attempted_is_left_to_whoever_ends_it(world: World) -> None:
    application = await world.application()
    endpoint, other = [await world.endpoint(application) for _ in range(2)]
    (left, _) = await leave(world, world.draft(application))
    async with world.database.write() as conn:
        await disable(world, conn, endpoint)
    taken = await take(world)
    assert [one.destination.endpoint_id for one in taken.deliveries] == [other]
    assert taken.left_due
    assert not (await world.claim()).deliveries
    delivery = await world.delivery(left.message_id, endpoint)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert delivery.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED


async def test_what_has_lost_its_payload_is_left_to_whoever_ends_it(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (left,) = await leave(world, world.draft(application))
    await world.execute(update(messages).values(payload=None))
    taken = await take(world)
    assert (len(taken.deliveries), taken.left_due) == (0, True)
    assert not (await world.claim()).deliveries
    delivery = await world.delivery(left.message_id, endpoint)
    assert delivery.status == DELIVERY_STATUS_CANCELLED


async def test_nothing_is_left_of_messages_that_are_rolled_back(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    try:
        async with world.database.write() as conn:
            (result,) = await accept(
                conn,
                [world.draft(application)],
                now=world.now,
                lease=LEASE,
                may_claim=lambda _: True,
                hands_over=True,
            )
            assert isinstance(result, Accepted)
            raise KeyError
    except KeyError:
        pass
    assert not (await take(world)).deliveries
