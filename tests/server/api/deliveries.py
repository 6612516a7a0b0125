"""What became of messages, once it has become of them."""

from typing import Any

from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING, Delivery

from tests.waiting import eventually


async def ended(octohooks: AsyncOctohooks, count: int, **filters: Any) -> list[Delivery]:
    """The deliveries that the filters find, newest first, once all of so many have ended."""

    async def look() -> list[Delivery]:
        found = [one async for one in octohooks.delivery.list(page_size=250, **filters)]
        is_over = all(one.status != DELIVERY_STATUS_PENDING for one in found)
        return found if len(found) == count and is_over else []

    return await eventually(look)


async def attempted(octohooks: AsyncOctohooks, count: int, **filters: Any) -> list[Attempt]:
    """The attempts that the filters find, newest first, once there are so many."""

    async def look() -> list[Attempt]:
        found = [one async for one in octohooks.attempt.list(page_size=250, **filters)]
        return found if len(found) >= count else []

    found = await eventually(look)
    assert len(found) == count
    return found
