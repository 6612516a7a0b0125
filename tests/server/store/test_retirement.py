"""What waits for an endpoint that ends is cancelled, however much it is."""

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
)
from octohooks_server.store import applications, endpoints, retirement
from octohooks_server.store.tables import deliveries
from sqlalchemy import func, select

from tests.server.store.world import World


async def test_a_large_backlog_is_cancelled_in_steps(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    await world.send(application, count=1_700)
    await disable(world, endpoint)
    steps = await continue_to_the_end(world)
    assert steps > 1
    assert await reasons(world) == {CANCEL_REASON_ENDPOINT_DISABLED: 1_700}
    assert len(await world.events()) == 1_700


async def test_deleting_an_application_cancels_what_waits_for_all_its_endpoints(
    world: World,
) -> None:
    application = await world.application()
    for _ in range(3):
        await world.endpoint(application)
    await world.send(application, count=10)
    await delete_application(world, application)
    await continue_to_the_end(world)
    assert await reasons(world) == {CANCEL_REASON_APPLICATION_DELETED: 30}


async def test_what_falls_due_while_its_application_is_being_deleted_says_so_too(
    world: World,
) -> None:
    """The delivery loop may come before the background work that goes through the backlog."""
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=10)
    await delete_application(world, application)
    await world.claim(limit=4)
    await continue_to_the_end(world)
    assert await reasons(world) == {CANCEL_REASON_APPLICATION_DELETED: 10}


async def test_what_is_accepted_after_an_endpoint_is_enabled_again_is_not_cancelled(
    world: World,
) -> None:
    """Although the backlog from before it was disabled is still being gone through."""
    application = await world.application()
    endpoint = await world.endpoint(application)
    await world.send(application, count=1_700)
    world.pass_time(1)
    await disable(world, endpoint)
    world.pass_time(1)
    enabled = await world.endpoint_now(application, endpoint)
    enabled.disabled = False
    async with world.database.write() as conn:
        await endpoints.store_update(
            conn, environment_id=world.environment_id, endpoint=enabled, now=world.now
        )
    world.pass_time(1)
    (message,) = await world.send(application)
    await continue_to_the_end(world)
    assert (await world.delivery(message, endpoint)).status != DELIVERY_STATUS_CANCELLED


async def disable(world: World, endpoint: str) -> None:
    async with world.database.write() as conn:
        await endpoints.disable(
            conn, environment_id=world.environment_id, id=endpoint, reason=1, now=world.now
        )
        await retirement.retire(
            conn,
            environment_id=world.environment_id,
            endpoint_id=endpoint,
            reason=CANCEL_REASON_ENDPOINT_DISABLED,
            now=world.now,
        )


async def continue_to_the_end(world: World) -> int:
    steps = 0
    while True:
        async with world.database.write() as conn:
            if not await retirement.is_due(conn):
                return steps
            await retirement.continue_one(conn, now=world.now)
        steps += 1


async def delete_application(world: World, application: str) -> None:
    async with world.database.write() as conn:
        await applications.mark_deleted(conn, id=application, now=world.now)
        ids = await endpoints.mark_all_deleted(conn, application_id=application, now=world.now)
        await retirement.retire_later(
            conn,
            environment_id=world.environment_id,
            endpoint_ids=ids,
            reason=CANCEL_REASON_APPLICATION_DELETED,
        )


async def reasons(world: World) -> dict[int, int]:
    rows = await world.execute(
        select(deliveries.c.cancel_reason, func.count().label("n")).group_by(
            deliveries.c.cancel_reason
        )
    )
    return {row["cancel_reason"]: row["n"] for row in rows}
