"""What operational webhooks are sent: what happens to endpoints and deliveries, signed."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from octohooks import AsyncOctohooks, Webhook

from tests.receivers import Connection, Receiver, respond
from tests.server.api.deliveries import attempted
from tests.server.api.home import Home
from tests.server.api.serving import Clock, Server, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Where nobody listens.
URL = "http://127.0.0.1:9/"


class Owner:
    """The environment's owner, with an operational webhook and the receiver behind it."""

    def __init__(self, octohooks: AsyncOctohooks, receiver: Receiver, secret: str) -> None:
        self.octohooks = octohooks
        self._receiver = receiver
        self._secret = secret

    @classmethod
    async def of(cls, octohooks: AsyncOctohooks, receiver: Receiver, **values: Any) -> "Owner":
        webhook = await octohooks.operational_webhook.create(url=receiver.url, **values)
        (secret,) = await octohooks.operational_webhook.secret(webhook.id)
        return cls(octohooks, receiver, secret.secret)

    async def told(self, now: datetime | None = None) -> dict[str, Any]:
        """The next notification, whose signature is good."""
        request = await self._receiver.next_request()
        clock: dict[str, Any] = {} if now is None else {"now": lambda: now}
        webhook = Webhook(self._secret, timedelta(minutes=5), **clock)
        verified = webhook.verify(request.body, dict(request.headers))
        assert isinstance(verified, dict)
        return verified

    async def told_of(self, count: int, now: datetime | None = None) -> dict[str, dict[str, Any]]:
        """The next notifications by their types, which differ."""
        told = [await self.told(now) for _ in range(count)]
        by_type = {one["type"]: one for one in told}
        assert len(by_type) == count
        return by_type


@pytest_asyncio.fixture(loop_scope="session")
async def unhurried(home: Home) -> AsyncIterator[AsyncOctohooks]:
    """The SDK at a server whose clock stands still, so that no retry comes by itself."""
    async with serving(home, clock=Clock()) as server:
        yield (await server.new_tenant()).octohooks


async def test_changes_of_endpoints_are_told_signed(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    acme = await octohooks.application.create(uid="acme")
    owner = await Owner.of(octohooks, receiver)

    endpoint = await octohooks.endpoint.create("acme", url=URL, uid="main")
    created = await owner.told()
    assert created["type"] == "endpoint.created"
    assert created["data"] == {
        "application": acme.id,
        "endpoint": endpoint.id,
        "endpoint_uid": "main",
    }
    assert datetime.fromisoformat(created["timestamp"]).utcoffset() == timedelta(0)

    await octohooks.endpoint.update("acme", "main", description="new")
    updated = await owner.told()
    assert (updated["type"], updated["data"]) == ("endpoint.updated", created["data"])

    await octohooks.endpoint.update("acme", "main", disabled=True)
    assert set(await owner.told_of(2)) == {"endpoint.updated", "endpoint.disabled"}

    await octohooks.endpoint.update("acme", "main", disabled=False)
    assert set(await owner.told_of(2)) == {"endpoint.updated", "endpoint.enabled"}

    await octohooks.endpoint.delete("acme", "main")
    deleted = await owner.told()
    assert (deleted["type"], deleted["data"]["endpoint"]) == ("endpoint.deleted", endpoint.id)


async def test_each_endpoint_that_goes_with_its_application_is_told_of(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="acme")
    endpoints = [await octohooks.endpoint.create("acme", url=URL) for _ in range(2)]
    owner = await Owner.of(octohooks, receiver, event_types=["endpoint.deleted"])

    await octohooks.application.delete("acme")

    told = [await owner.told() for _ in range(2)]
    assert {one["data"]["endpoint"] for one in told} == {endpoint.id for endpoint in endpoints}


async def test_failures_of_a_delivery_are_told_at_the_fourth_the_last_and_the_recovery(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    acme = await octohooks.application.create(uid="acme")
    async with Receiver(*[respond(500)] * 5, respond(200)) as failing:
        endpoint = await octohooks.endpoint.create("acme", url=failing.url, retry_schedule=[0] * 5)
        owner = await Owner.of(octohooks, receiver)
        message = await octohooks.message.create("acme", event_type="e.f", payload={})

        told = await owner.told_of(2)
        attempts = (await attempted(octohooks, 5, message=message.id))[::-1]
        for type_, attempt in (
            ("message.attempt.failing", attempts[3]),
            ("message.attempt.exhausted", attempts[4]),
        ):
            assert told[type_]["data"] == {
                "application": acme.id,
                "endpoint": endpoint.id,
                "message": message.id,
                "event_type": "e.f",
                "attempt": attempt.id,
                "attempt_number": attempt.number,
                "response_status": 500,
            }

        await octohooks.delivery.resend(message=message.id, endpoint=endpoint.id)
        recovered = await owner.told()

    assert recovered["type"] == "message.attempt.recovered"
    assert recovered["data"]["message"] == message.id
    assert recovered["data"]["response_status"] == 200


async def test_a_success_before_the_fourth_failure_is_nothing_to_tell(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="acme")
    async with Receiver(*[respond(500)] * 3, respond(200)) as failing:
        endpoint = await octohooks.endpoint.create("acme", url=failing.url, retry_schedule=[0] * 5)
        owner = await Owner.of(octohooks, receiver)
        await octohooks.message.create("acme", event_type="e", payload={})
        await attempted(octohooks, 4, endpoint=endpoint.id)

        # Whatever had been worth telling would have come before this.
        await octohooks.endpoint.update("acme", endpoint.id, description="new")

    assert (await owner.told())["type"] == "endpoint.updated"
    assert len(receiver.requests) == 1


async def test_a_receiver_that_is_gone_is_told_of_as_a_disabled_endpoint(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="acme")
    async with Receiver(respond(410)) as gone:
        endpoint = await octohooks.endpoint.create("acme", url=gone.url)
        owner = await Owner.of(octohooks, receiver)
        await octohooks.message.create("acme", event_type="e", payload={})

        told = await owner.told()

    assert told["type"] == "endpoint.disabled"
    assert told["data"]["endpoint"] == endpoint.id
    assert told["data"]["reason"] == "gone"


async def test_an_endpoint_that_only_failed_for_5_days_is_disabled_and_told_of(
    home: Home, receiver: Receiver
) -> None:
    clock = Clock()
    async with serving(home, clock=clock) as server, Receiver(respond(500)) as failing:
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        endpoint = await octohooks.endpoint.create("acme", url=failing.url, retry_schedule=[0])
        owner = await Owner.of(octohooks, receiver, event_types=["endpoint.disabled"])
        for attempts in range(1, 3):
            await octohooks.message.create("acme", event_type="e", payload={})
            await attempted(octohooks, attempts, endpoint=endpoint.id)
            assert not (await octohooks.endpoint.get("acme", endpoint.id)).disabled
            clock.advance(days=2.6)

        await octohooks.message.create("acme", event_type="e", payload={})

        told = await owner.told(clock())
        assert told["data"]["endpoint"] == endpoint.id
        assert told["data"]["reason"] == "failing"
        assert (await octohooks.endpoint.get("acme", endpoint.id)).disabled


async def test_an_operational_webhook_gets_the_notifications_that_it_names(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="acme")
    owner = await Owner.of(octohooks, receiver, event_types=["endpoint.deleted"])
    endpoint = await octohooks.endpoint.create("acme", url=URL)

    await octohooks.endpoint.delete("acme", endpoint.id)

    assert (await owner.told())["type"] == "endpoint.deleted"
    assert len(receiver.requests) == 1


async def test_a_disabled_operational_webhook_gets_nothing(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="acme")
    owner = await Owner.of(octohooks, receiver)
    async with Receiver() as disabled:
        await octohooks.operational_webhook.create(url=disabled.url, disabled=True)

        await octohooks.endpoint.create("acme", url=URL)

        await owner.told()
        assert disabled.requests == []


async def test_notifications_reach_the_owner_of_this_environment_alone(
    server: Server, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    other = await server.new_tenant()
    await other.octohooks.application.create(uid="acme")
    await octohooks.application.create(uid="acme")
    await Owner.of(octohooks, receiver)
    async with Receiver() as elsewhere:
        others = await Owner.of(other.octohooks, elsewhere)

        await other.octohooks.endpoint.create("acme", url=URL)

        assert (await others.told())["type"] == "endpoint.created"
        assert receiver.requests == []


async def test_nothing_is_sent_about_operational_webhooks_themselves(
    unhurried: AsyncOctohooks, receiver: Receiver
) -> None:
    """A failing one would else feed itself."""
    acme = await unhurried.application.create(uid="acme")
    owner = await Owner.of(unhurried, receiver)

    async def gone_after_four(connection: Connection) -> None:
        await respond(500 if len(failing.requests) < 5 else 410)(connection)

    async with Receiver(gone_after_four) as failing:
        other = await unhurried.operational_webhook.create(url=failing.url)
        await unhurried.operational_webhook.update(other.id, description="new")
        # The one notification fails five times, and then its receiver is gone.
        endpoint = await unhurried.endpoint.create("acme", url=URL)
        assert (await owner.told())["type"] == "endpoint.created"
        (delivery,) = [one async for one in unhurried.delivery.list(endpoint=other.id)]
        for attempts in range(1, 6):
            await attempted(unhurried, attempts, endpoint=other.id)
            if attempts < 5:
                await unhurried.delivery.resend(message=delivery.message, endpoint=other.id)

        async def disabled() -> bool:
            return (await unhurried.operational_webhook.get(other.id)).disabled

        await eventually(disabled)
        await unhurried.operational_webhook.update(other.id, disabled=False)
        await unhurried.operational_webhook.delete(other.id)

    # Whatever had been sent about it would have come before this.
    await unhurried.endpoint.delete("acme", endpoint.id)
    told = await owner.told()
    assert told["type"] == "endpoint.deleted"
    assert told["data"]["application"] == acme.id
    assert len(receiver.requests) == 2


async def test_a_notification_is_retried_and_recorded_like_any_other_message(
    unhurried: AsyncOctohooks,
) -> None:
    await unhurried.application.create(uid="acme")
    async with Receiver(respond(500), respond(200)) as receiver:
        webhook = await unhurried.operational_webhook.create(url=receiver.url)
        await unhurried.endpoint.create("acme", url=URL)
        (first,) = await attempted(unhurried, 1, endpoint=webhook.id)
        assert first.HasField("next_attempt_time")

        await unhurried.delivery.resend(message=first.message, endpoint=webhook.id)

        again, _ = await attempted(unhurried, 2, endpoint=webhook.id)
    bodies = [json.loads(request.body)["type"] for request in receiver.requests]
    assert bodies == ["endpoint.created"] * 2
    assert again.response_status == 200
