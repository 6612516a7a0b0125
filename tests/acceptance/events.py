"""Waiting for what a watch shows."""

from collections.abc import Callable

from octohooks import AsyncWatch
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.attempt_service_pb2 import AttemptEvent
from octohooks.v1.delivery_pb2 import Delivery


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


async def events_until(
    watch: AsyncWatch, is_last: Callable[[AttemptEvent], bool]
) -> list[AttemptEvent]:
    """All events up to the first for which `is_last` holds, with that one."""
    events = [await anext(watch)]
    while not is_last(events[-1]):
        events.append(await anext(watch))
    return events
