"""Making deliveries due again."""

from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED
from octohooks_server.store import deliveries

from tests.server.store.world import World, seconds


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


async def test_a_delivery_that_has_succeeded_meanwhile_is_not_made_due_again(world: World) -> None:
    """A recovery reads which have failed; a manual attempt may succeed before it restarts them."""
    application = await world.application()
    endpoint = await world.endpoint(application)
    failed, succeeded = await world.send(application, 2)
    for claimed in (await world.claim()).deliveries:
        status = 500 if claimed.message_id == failed else 200
        await world.record_one(world.outcome(claimed, status, retry_in=None))
    async with world.database.write() as conn:
        keys = [(world.environment_id, message, endpoint) for message in (failed, succeeded)]
        await deliveries.restart(conn, keys=keys, now=world.now)
    claimed_again = (await world.claim()).deliveries
    assert [one.message_id for one in claimed_again] == [failed]
    assert (await world.delivery(succeeded, endpoint)).status == DELIVERY_STATUS_SUCCEEDED


async def request_attempt(world: World, message: str, endpoint: str) -> None:
    async with world.database.write() as conn:
        await deliveries.request_attempt(
            conn,
            environment_id=world.environment_id,
            message_id=message,
            endpoint_id=endpoint,
            now=world.now,
        )
