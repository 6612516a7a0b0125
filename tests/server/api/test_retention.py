"""Retention: payloads and response bodies go when their time is over; everything else stays."""

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_service_pb2 import GetAttemptRequest
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_PAYLOAD_DELETED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.message_pb2 import Message
from octohooks_server.background import steps

from tests.receivers import Receiver, respond
from tests.server.api.ages import World
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY = 24 * 3600


@pytest.fixture
def world(home: Home) -> World:
    """A new environment in a place of its own."""
    return World(home)


async def send(octohooks: AsyncOctohooks, uid: str, **values: Any) -> None:
    await octohooks.message.create("acme", event_type="e", payload={}, uid=uid, **values)


async def without_payload(octohooks: AsyncOctohooks, message: str) -> Message:
    """The message once its payload has been deleted."""

    async def look() -> Message | None:
        seen = await octohooks.message.get("acme", message)
        return seen if seen.payload_deleted else None

    seen = await eventually(look)
    assert seen is not None
    return seen


async def test_after_90_days_the_payload_and_the_response_bodies_go_and_the_rest_stays(
    world: World,
) -> None:
    async with (
        Receiver(respond(200, b"thanks", [("x-is", "kept")])) as receiver,
        world.at() as tenant,
    ):
        octohooks = tenant.octohooks
        await octohooks.endpoint.create("acme", url=receiver.url)
        sent = await octohooks.message.create(
            "acme", event_type="e", payload={"a": 1}, uid="m", tags={"k": "v"}
        )
        await ended(octohooks, 1)
        (listed,) = await attempted(octohooks, 1)
        attempt = (await tenant.api(GetAttemptRequest(attempt=listed.id))).attempt
        assert attempt.response_body == b"thanks"
    async with world.at(days=84.9) as tenant:
        await tenant.octohooks.endpoint.delete("acme", listed.endpoint)
        other = await tenant.octohooks.message.create(
            "acme", event_type="e", payload={}, payload_retention=5 * DAY
        )

    async with world.at(days=5.05) as tenant:
        await without_payload(tenant.octohooks, other.id)
        kept = await tenant.octohooks.message.get("acme", "m")
        assert kept.payload == b'{"a":1}', "89.95 days are not 90"
        assert (await tenant.api(GetAttemptRequest(attempt=listed.id))).attempt == attempt

    async with world.at(days=0.1) as tenant:
        octohooks = tenant.octohooks
        message = await without_payload(octohooks, "m")
        sent.payload_deleted = True
        assert message == sent
        assert [one.id async for one in octohooks.message.list("acme")] == [other.id, sent.id]
        attempt.ClearField("response_body")
        assert (await tenant.api(GetAttemptRequest(attempt=attempt.id))).attempt == attempt
        assert await attempted(octohooks, 1) == [listed]
        (delivery,) = await ended(octohooks, 1, message=sent.id)
        assert delivery.status == DELIVERY_STATUS_SUCCEEDED


async def test_environments_and_messages_decide_how_long_their_payloads_are_kept(
    world: World,
) -> None:
    async with world.at(payload_retention=Duration(seconds=7 * DAY)) as tenant:
        await send(tenant.octohooks, "unsaid")
        await send(tenant.octohooks, "short", payload_retention=6 * DAY)
        await send(tenant.octohooks, "long", payload_retention=8 * DAY)

    for days, gone, left in (
        (6.1, "short", {"unsaid", "long"}),
        (1, "unsaid", {"long"}),
        (1, "long", set()),
    ):
        async with world.at(days=days) as tenant:
            await without_payload(tenant.octohooks, gone)
            messages = [one async for one in tenant.octohooks.message.list("acme")]
            assert {one.uid for one in messages if not one.payload_deleted} == left


async def test_expired_payloads_go_in_small_steps_to_the_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_MESSAGES_AT_ONCE", 2)
    async with world.at() as tenant:
        for number in range(5):
            await send(tenant.octohooks, f"m{number}", payload_retention=5 * DAY)

    async with world.at(days=5.1) as tenant:
        for number in range(5):
            await without_payload(tenant.octohooks, f"m{number}")


async def test_a_delivery_that_still_waits_is_cancelled_when_it_falls_due(world: World) -> None:
    async with Receiver(respond(500)) as receiver:
        async with world.at() as tenant:
            await tenant.octohooks.endpoint.create(
                "acme", url=receiver.url, retry_schedule=[DAY] * 20
            )
            await send(tenant.octohooks, "m", payload_retention=5 * DAY)
        for attempts in range(1, 5):
            async with world.at(days=1.11) as tenant:
                await attempted(tenant.octohooks, attempts)
        # 4.44 days have gone, and the fifth attempt is due after 5.3 days at the earliest.
        async with world.at(days=0.6) as tenant:
            await without_payload(tenant.octohooks, "m")
            (delivery,) = [one async for one in tenant.octohooks.delivery.list()]
            assert delivery.status == DELIVERY_STATUS_PENDING

        async with world.at(days=0.6) as tenant:
            (delivery,) = await ended(tenant.octohooks, 1)

    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert delivery.cancel_reason == CANCEL_REASON_PAYLOAD_DELETED
    assert len(receiver.requests) == 4
