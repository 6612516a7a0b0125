"""Waiting for what a watch shows."""

from octohooks import AsyncOctohooks, AsyncWatch
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING, Delivery


async def next_attempt(watch: AsyncWatch) -> Attempt:
    """The attempt that the next event is about."""
    event = await anext(watch)
    assert event.WhichOneof("event") == "attempt", event
    return event.attempt


async def next_attempts(watch: AsyncWatch, count: int) -> list[Attempt]:
    """The attempts that the next events are about."""
    return [await next_attempt(watch) for _ in range(count)]


async def next_cancelled(watch: AsyncWatch) -> Delivery:
    """The delivery that the next event tells the cancelling of."""
    event = await anext(watch)
    assert event.WhichOneof("event") == "cancelled_delivery", event
    return event.cancelled_delivery


async def until_nothing_is_pending(client: AsyncOctohooks) -> None:
    """Returns once every delivery of the environment has ended."""
    async with client.attempt.watch() as watch:
        await watch.wait_until_live()
        # Listed once the watch is live, so that none can end unseen.
        listed = client.delivery.list(statuses=["pending"], page_size=250)
        pending = {(one.message, one.endpoint) async for one in listed}
        while pending:
            attempt = await next_attempt(watch)
            if attempt.delivery_status != DELIVERY_STATUS_PENDING:
                pending.discard((attempt.message, attempt.endpoint))
