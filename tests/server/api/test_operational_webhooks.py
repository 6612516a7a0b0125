"""OperationalWebhookService, and what is sent to those that it makes."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from google.protobuf.field_mask_pb2 import FieldMask
from octohooks import AsyncOctohooks, Webhook
from octohooks.v1.endpoint_pb2 import (
    DISABLE_REASON_GONE,
    DISABLE_REASON_REQUESTED,
    SIGNATURE_TYPE_ED25519,
    SIGNATURE_TYPE_HMAC_SHA256,
)
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    DeleteOperationalWebhookRequest,
    GetOperationalWebhookRequest,
    GetOperationalWebhookSecretRequest,
    ListOperationalWebhooksRequest,
    UpdateOperationalWebhookRequest,
)
from octohooks_server.rules.ids import is_id

from tests.receivers import Connection, Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.deliveries import attempted
from tests.server.api.serving import Clock, Server, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "https://example.com/ops"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
TIME = {"seconds": 1}

WRONG_VALUES = [
    pytest.param({"uid": "a b"}, "uid", id="a UID with a space"),
    pytest.param({"uid": "ep_1"}, "uid", id="a UID that begins as an ID"),
    pytest.param({"url": "ftp://example.com"}, "url", id="a URL of another scheme"),
    pytest.param({"url": "https://192.168.0.1/"}, "url", id="a private address"),
    pytest.param({"description": "d" * 1_025}, "description", id="a long description"),
    pytest.param({"event_types": ["endpoint.created", "e"]}, "event_types[1]", id="a stranger"),
    pytest.param({"headers": {"host": "a"}}, "headers", id="a header that HTTP sets"),
]
OUTPUT_ONLY = [
    pytest.param({"id": NEVER}, "id", id="an ID"),
    pytest.param({"disable_reason": DISABLE_REASON_GONE}, "disable_reason", id="a reason"),
    pytest.param({"create_time": TIME}, "create_time", id="a creation time"),
    pytest.param({"update_time": TIME}, "update_time", id="a change time"),
]


async def made(api: Api, **values: Any) -> OperationalWebhook:
    webhook = OperationalWebhook(**{"url": URL, **values})
    answer = await api(CreateOperationalWebhookRequest(operational_webhook=webhook))
    created = answer.operational_webhook
    assert isinstance(created, OperationalWebhook)
    return created


async def listed(api: Api) -> list[OperationalWebhook]:
    return list((await api(ListOperationalWebhooksRequest())).operational_webhooks)


def update(reference: str, *paths: str, **values: Any) -> UpdateOperationalWebhookRequest:
    return UpdateOperationalWebhookRequest(
        operational_webhook=reference,
        values=OperationalWebhook(**values),
        update_mask=FieldMask(paths=paths),
    )


async def test_an_operational_webhook_is_created_with_all_that_is_given(api: Api) -> None:
    values: dict[str, Any] = {
        "uid": "ops",
        "url": URL,
        "description": "Operations",
        "event_types": ["endpoint.disabled", "message.attempt.exhausted"],
        "headers": {"X-Team": "ops"},
        "signature_type": SIGNATURE_TYPE_ED25519,
        "disabled": True,
    }

    webhook = await made(api, **values)

    assert is_id(webhook.id, "ep_")
    assert webhook == OperationalWebhook(
        **values,
        id=webhook.id,
        disable_reason=DISABLE_REASON_REQUESTED,
        create_time=webhook.create_time,
        update_time=webhook.create_time,
    )
    for reference in ("ops", webhook.id):
        answer = await api(GetOperationalWebhookRequest(operational_webhook=reference))
        assert answer.operational_webhook == webhook


@pytest.mark.parametrize(
    ("values", "field"),
    [*WRONG_VALUES, *OUTPUT_ONLY, pytest.param({"url": ""}, "url", id="no URL")],
)
async def test_creation_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    webhook = OperationalWebhook(**{"url": URL, **values})

    refusal = await api.refusal(CreateOperationalWebhookRequest(operational_webhook=webhook))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"operational_webhook.{field}"]
    assert await listed(api) == []


async def test_creation_refuses_a_secret_that_cannot_sign(api: Api) -> None:
    refusal = await api.refusal(
        CreateOperationalWebhookRequest(
            operational_webhook=OperationalWebhook(url=URL), secret="whsec_short"
        )
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["secret"]
    assert await listed(api) == []


async def test_a_uid_is_taken_once_among_the_environments_operational_webhooks(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    await octohooks.application.create(uid="acme")
    await octohooks.endpoint.create("acme", url=URL, uid="ops")
    first = await made(api, uid="ops")

    refusal = await api.refusal(
        CreateOperationalWebhookRequest(operational_webhook=OperationalWebhook(url=URL, uid="ops"))
    )

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert await listed(api) == [first]


async def test_lists_answer_the_oldest_first_page_by_page(api: Api) -> None:
    assert await listed(api) == []
    webhooks = [await made(api, description=f"{number}") for number in range(3)]

    first = await api(ListOperationalWebhooksRequest(page_size=2))
    second = await api(ListOperationalWebhooksRequest(page_token=first.next_page_token))

    assert [*first.operational_webhooks] == webhooks[:2]
    assert [*second.operational_webhooks] == webhooks[2:]
    assert not second.next_page_token
    refusal = await api.refusal(ListOperationalWebhooksRequest(page_size=-1))
    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


async def test_an_update_changes_what_it_names_and_nothing_else(api: Api) -> None:
    before = await made(
        api, uid="ops", event_types=["endpoint.created"], headers={"a": "b"}, description="old"
    )

    answer = await api(
        update("ops", "description", "event_types", description="new", url="https://elsewhere/")
    )

    after = answer.operational_webhook
    expected = OperationalWebhook()
    expected.CopyFrom(before)
    expected.description = "new"
    expected.ClearField("event_types")
    expected.update_time.CopyFrom(after.update_time)
    assert after == expected
    assert await listed(api) == [after]


@pytest.mark.parametrize(("values", "field"), [*WRONG_VALUES, *OUTPUT_ONLY])
async def test_an_update_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    before = await made(api, uid="ops")

    refusal = await api.refusal(update("ops", **values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"values.{field}"]
    assert await listed(api) == [before]


async def test_an_update_cannot_take_a_uid_from_another(api: Api) -> None:
    await made(api, uid="ops")
    await made(api, uid="other")

    refusal = await api.refusal(update("other", uid="ops"))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")


async def test_a_deleted_operational_webhook_is_gone_and_its_uid_free(api: Api) -> None:
    deleted = await made(api, uid="ops")

    await api(DeleteOperationalWebhookRequest(operational_webhook="ops"))

    assert await listed(api) == []
    for reference in ("ops", deleted.id):
        refusal = await api.refusal(GetOperationalWebhookRequest(operational_webhook=reference))
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert (await made(api, uid="ops")).id != deleted.id


@pytest.mark.parametrize(
    "request_type",
    [
        GetOperationalWebhookRequest,
        UpdateOperationalWebhookRequest,
        DeleteOperationalWebhookRequest,
        GetOperationalWebhookSecretRequest,
    ],
)
@pytest.mark.parametrize("others", [False, True], ids=["the first", "beside others"])
async def test_an_operational_webhook_has_to_be_named_and_to_exist(
    api: Api, octohooks: AsyncOctohooks, request_type: Any, others: bool
) -> None:
    await octohooks.application.create(uid="acme")
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    if others:
        await made(api, uid="ops")

    for reference in (NEVER, "none", "main"):
        refusal = await api.refusal(request_type(operational_webhook=reference))
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("operational webhook", reference)
    unnamed = await api.refusal(request_type())
    assert unnamed.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert unnamed.fields == ["operational_webhook"]


async def test_an_endpoint_of_an_application_is_no_operational_webhook_nor_the_reverse(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    await octohooks.application.create(uid="acme")
    endpoint = await octohooks.endpoint.create("acme", url=URL)
    webhook = await made(api)

    refusal = await api.refusal(GetOperationalWebhookRequest(operational_webhook=endpoint.id))
    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert [one async for one in octohooks.endpoint.list("acme")] == [endpoint]
    assert [one.uid async for one in octohooks.application.list()] == ["acme"]
    assert webhook.id != endpoint.id


async def test_the_secret_signs_and_is_answered(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    webhook = await octohooks.operational_webhook.create(url=receiver.url)
    await octohooks.application.create(uid="acme")
    await octohooks.endpoint.create("acme", url=URL, disabled=True)

    (secret,) = await octohooks.operational_webhook.secret(webhook.id)

    assert secret.signature_type == SIGNATURE_TYPE_HMAC_SHA256
    request = await receiver.next_request()
    headers = {name.lower(): value for name, value in request.headers}
    verified: Any = standardwebhooks.Webhook(secret.secret).verify(request.body, headers)
    assert verified["type"] == "endpoint.created"


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
        request = await asyncio.wait_for(self._receiver.next_request(), 20)
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
    tmp_path: Path, receiver: Receiver
) -> None:
    clock = Clock()
    async with serving(tmp_path, clock=clock) as server, Receiver(respond(500)) as failing:
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
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    """A failing one would else feed itself."""
    acme = await octohooks.application.create(uid="acme")
    owner = await Owner.of(octohooks, receiver)

    async def gone_after_four(connection: Connection) -> None:
        await respond(500 if len(failing.requests) < 5 else 410)(connection)

    async with Receiver(gone_after_four) as failing:
        other = await octohooks.operational_webhook.create(url=failing.url)
        await octohooks.operational_webhook.update(other.id, description="new")
        # The one notification fails five times, and then its receiver is gone.
        endpoint = await octohooks.endpoint.create("acme", url=URL)
        assert (await owner.told())["type"] == "endpoint.created"
        (delivery,) = [one async for one in octohooks.delivery.list(endpoint=other.id)]
        for attempts in range(1, 6):
            await attempted(octohooks, attempts, endpoint=other.id)
            if attempts < 5:
                await octohooks.delivery.resend(message=delivery.message, endpoint=other.id)

        async def disabled() -> bool:
            return (await octohooks.operational_webhook.get(other.id)).disabled

        await eventually(disabled)
        await octohooks.operational_webhook.update(other.id, disabled=False)
        await octohooks.operational_webhook.delete(other.id)

    # Whatever had been sent about it would have come before this.
    await octohooks.endpoint.delete("acme", endpoint.id)
    told = await owner.told()
    assert told["type"] == "endpoint.deleted"
    assert told["data"]["application"] == acme.id
    assert len(receiver.requests) == 2


async def test_a_notification_is_retried_and_recorded_like_any_other_message(
    octohooks: AsyncOctohooks,
) -> None:
    await octohooks.application.create(uid="acme")
    async with Receiver(respond(500), respond(200)) as receiver:
        webhook = await octohooks.operational_webhook.create(url=receiver.url)
        await octohooks.endpoint.create("acme", url=URL)
        (first,) = await attempted(octohooks, 1, endpoint=webhook.id)
        assert first.HasField("next_attempt_time")

        await octohooks.delivery.resend(message=first.message, endpoint=webhook.id)

        again, _ = await attempted(octohooks, 2, endpoint=webhook.id)
    bodies = [json.loads(request.body)["type"] for request in receiver.requests]
    assert bodies == ["endpoint.created"] * 2
    assert again.response_status == 200
