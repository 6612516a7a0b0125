"""Ending deliveries early."""

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks_server.store import cancelling

from tests.server.store.world import World


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


async def cancel(world: World, limit: int = 100, **of: str) -> int:
    async with world.database.write() as conn:
        return await cancelling.cancel_pending(
            conn,
            environment_id=world.environment_id,
            reason=CANCEL_REASON_ENDPOINT_DISABLED,
            now=world.now,
            limit=limit,
            **of,
        )
