"""Transactions take rows in one order, so that none of them waits for one that waits for it.

Idempotency keys come first, then endpoints by ID, then deliveries by message and endpoint, then the
environment's counter.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest
from octohooks.v1.delivery_pb2 import CANCEL_REASON_ENDPOINT_DISABLED
from octohooks_server.store import cancelling, idempotency, retirement
from octohooks_server.store.database import open_database
from octohooks_server.store.idempotency import KEPT_FOR, Key, KeyedRequest
from octohooks_server.store.tables import deliveries, endpoints, idempotent_answers
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.postgresql import Cluster
from tests.server.store.world import World, seconds
from tests.waiting import eventually


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    """An environment on PostgreSQL, where several transactions run at once."""
    async with cluster.database() as url:
        database = open_database(url)
        yield await World.make(database)
        await database.close()


async def hold_delivery(conn: AsyncConnection, message_id: str) -> None:
    await conn.execute(
        select(deliveries.c.message_id)
        .where(deliveries.c.message_id == message_id)
        .with_for_update()
    )


async def until_one_waits(world: World) -> None:
    """Returns once a transaction waits for another one."""

    async def one_waits() -> bool:
        async with world.database.read() as conn:
            return bool(
                await conn.scalar(
                    text(
                        "SELECT count(*) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
                )
            )

    await eventually(one_waits)


async def test_what_waits_for_an_endpoint_is_cancelled_in_the_order_of_its_messages(
    world: World,
) -> None:
    """Whatever the order in which it is due: payloads are deleted meanwhile."""
    application = await world.application()
    endpoint = await world.endpoint(application, [seconds(0), seconds(100)])
    first, second = await world.send(application, 2)
    # The first one is due last.
    for claimed in (await world.claim()).deliveries:
        wait = 100 if claimed.message_id == first else 50
        await world.record_one(world.outcome(claimed, retry_in=wait))

    async def cancel() -> int:
        async with world.database.write() as conn:
            return await cancelling.cancel_pending(
                conn,
                environment_id=world.environment_id,
                endpoint_id=endpoint,
                reason=CANCEL_REASON_ENDPOINT_DISABLED,
                now=world.now,
                limit=10,
            )

    async with world.database.write() as conn:
        await hold_delivery(conn, first)
        cancellation = asyncio.create_task(cancel())
        await until_one_waits(world)
        await hold_delivery(conn, second)
    assert await cancellation == 2


async def test_an_outcome_that_ends_an_endpoint_waits_for_no_other_delivery(world: World) -> None:
    """It holds the environment's counter, which all its other outcomes wait for."""
    application = await world.application()
    await world.endpoint(application)
    gone, waiting = await world.send(application, 2)
    (claimed,) = [one for one in (await world.claim()).deliveries if one.message_id == gone]
    async with world.database.write() as conn:
        await hold_delivery(conn, waiting)
        recorded = await world.record_one(world.outcome(claimed, 410))
    assert recorded.applied


async def test_endpoints_that_end_together_are_taken_in_the_order_of_their_ids(
    world: World,
) -> None:
    application = await world.application()
    first, second = [await world.endpoint(application) for _ in range(2)]

    async def end() -> None:
        async with world.database.write() as conn:
            await retirement.retire_later(
                conn,
                environment_id=world.environment_id,
                endpoint_ids=[second, first],
                reason=1,
            )

    async def hold(conn: AsyncConnection, endpoint_id: str) -> None:
        await conn.execute(
            select(endpoints.c.id).where(endpoints.c.id == endpoint_id).with_for_update()
        )

    async with world.database.write() as conn:
        await hold(conn, first)
        ending = asyncio.create_task(end())
        await until_one_waits(world)
        await hold(conn, second)
    await ending


async def test_idempotency_keys_are_taken_in_their_order_although_one_has_expired(
    world: World,
) -> None:
    first, second = [KeyedRequest("operator", key, b"request") for key in (b"1", b"2")]
    await store_answers(world, second)
    world.now += KEPT_FOR

    async def reserve() -> Iterable[Key]:
        async with world.database.write() as conn:
            return await idempotency.reserve(conn, [second, first], now=world.now)

    async with world.database.write() as conn:
        assert not await idempotency.reserve(conn, [first], now=world.now)
        reservation = asyncio.create_task(reserve())
        await until_one_waits(world)
        assert not await idempotency.reserve(conn, [second], now=world.now)
        await idempotency.keep(conn, [(first, b"answered"), (second, b"answered again")])
    assert set(await reservation) == {first.key, second.key}


async def test_cleaning_waits_for_no_idempotency_key_and_leaves_those_that_are_used_again(
    world: World,
) -> None:
    again, other = [KeyedRequest("operator", key, b"request") for key in (b"1", b"2")]
    await store_answers(world, again, other)
    world.now += KEPT_FOR
    async with world.database.write() as conn:
        assert await idempotency.reserve(conn, [again], now=world.now) == {}
        async with world.database.write() as cleaning:
            removed = await idempotency.remove_expired(cleaning, now=world.now, limit=10)
        await idempotency.keep(conn, [(again, b"answered again")])
    assert removed == 1
    (left,) = await world.execute(select(idempotent_answers.c.answer))
    assert left["answer"] == b"answered again"


async def store_answers(world: World, *requests: KeyedRequest) -> None:
    """Stores an answer to each, the first one first."""
    for keyed in requests:
        async with world.database.write() as conn:
            await idempotency.reserve(conn, [keyed], now=world.now)
            await idempotency.keep(conn, [(keyed, b"answered")])
