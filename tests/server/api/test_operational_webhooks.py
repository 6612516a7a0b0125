"""OperationalWebhookService: endpoints for what the environment's owner wants to know."""

from typing import Any

import pytest
import standardwebhooks
from google.protobuf.field_mask_pb2 import FieldMask
from octohooks import AsyncOctohooks
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

from tests.receivers import Receiver
from tests.server.api.calls import Api

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
