"""Claiming deliveries, and giving them back."""

import pytest
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    CANCEL_REASON_PAYLOAD_DELETED,
    DELIVERY_STATUS_CANCELLED,
)
from octohooks_server.store import cancelling, claims, endpoints
from octohooks_server.store.tables import messages
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

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
        assert await claims.next_due_at(conn) == world.now + seconds(0.000001)
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


async def test_a_claim_that_is_given_back_is_due_again_at_once(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=3)
    first = (await world.claim()).deliveries
    async with world.database.write() as conn:
        await claims.give_back(conn, first[:2], due_at=world.now)
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
        await claims.give_back(conn, [old], due_at=world.now)
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
    async with world.database.write() as conn:
        await cancelling.cancel_pending(
            conn,
            environment_id=world.environment_id,
            endpoint_id=endpoint,
            reason=CANCEL_REASON_ENDPOINT_DISABLED,
            now=world.now,
            limit=1,
        )
    async with world.database.write() as conn:
        await claims.give_back(conn, [claimed], due_at=world.now)
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
            await disable(world, conn, endpoint)
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


async def test_a_claim_takes_what_is_still_due_of_what_was_chosen(world: World) -> None:
    """Another server may have claimed some of it since."""
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=5)
    choice = await world.choose()
    others = await world.claim(limit=2)
    claimed = await world.claim_chosen(choice)
    assert (len(others.deliveries), others.is_partial) == (2, False)
    assert (len(claimed.deliveries), claimed.is_partial) == (3, True)


async def test_deliveries_that_end_for_different_reasons_are_numbered_together(
    world: World,
) -> None:
    application = await world.application()
    deleted, disabled = [await world.endpoint(application) for _ in range(2)]
    await world.send(application, count=2)
    async with world.database.write() as conn:
        await endpoints.mark_deleted(conn, id=deleted, now=world.now)
        await disable(world, conn, disabled)
    assert not (await world.claim()).deliveries
    ended = [event.event.cancelled_delivery for event in await world.events()]
    assert sorted((one.endpoint, one.cancel_reason) for one in ended) == sorted(
        2 * [(deleted, CANCEL_REASON_ENDPOINT_DELETED), (disabled, CANCEL_REASON_ENDPOINT_DISABLED)]
    )


async def disable(world: World, conn: AsyncConnection, endpoint: str) -> None:
    await endpoints.disable(
        conn, environment_id=world.environment_id, id=endpoint, reason=1, now=world.now
    )
