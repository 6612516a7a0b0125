"""EndpointService: the URLs that messages go to."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    CancelReason,
    Delivery,
)
from octohooks.v1.endpoint_pb2 import (
    DISABLE_REASON_REQUESTED,
    SIGNATURE_TYPE_ED25519,
    SIGNATURE_TYPE_HMAC_SHA256,
    Endpoint,
)
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    DeleteEndpointRequest,
    GetEndpointRequest,
    ListEndpointsRequest,
    UpdateEndpointRequest,
)
from octohooks_server.rules.ids import is_id

from tests.receivers import Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.serving import Server
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/hook"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
DAY = {"seconds": 24 * 3600}
TIME = {"seconds": 1}


def steps(*waits: dict[str, int]) -> dict[str, Any]:
    return {"retry_schedule": {"steps": list(waits)}}


async def made(api: Api, **values: Any) -> Endpoint:
    endpoint = Endpoint(**{"url": URL, **values})
    answer = await api(CreateEndpointRequest(application="acme", endpoint=endpoint))
    created = answer.endpoint
    assert isinstance(created, Endpoint)
    return created


async def got(api: Api, endpoint: str) -> Endpoint:
    answer = await api(GetEndpointRequest(application="acme", endpoint=endpoint))
    found = answer.endpoint
    assert isinstance(found, Endpoint)
    return found


async def listed(api: Api) -> list[Endpoint]:
    return list((await api(ListEndpointsRequest(application="acme"))).endpoints)


def update(endpoint: str, *paths: str, allow_missing: bool = False, **values: Any) -> Any:
    return UpdateEndpointRequest(
        application="acme",
        endpoint=endpoint,
        values=Endpoint(**values),
        update_mask=FieldMask(paths=paths),
        allow_missing=allow_missing,
    )


async def test_an_endpoint_is_created_with_all_that_is_given(api: Api, acme: Application) -> None:
    values = {
        "uid": "main",
        "url": URL,
        "description": "Billing",
        "event_types": ["invoice.paid"],
        "channels": ["eu", "project:1/a"],
        "headers": {"X-Team": "billing"},
        "rate_limit": 5,
        "signature_type": SIGNATURE_TYPE_ED25519,
        "disabled": True,
        "metadata": {"owner": "me"},
        **steps({}, {"seconds": 1, "nanos": 500_000_000}),
    }

    endpoint = await made(api, **values)

    assert is_id(endpoint.id, "ep_")
    assert endpoint.create_time == endpoint.update_time
    expected = Endpoint(
        **values,
        id=endpoint.id,
        application=acme.id,
        disable_reason=DISABLE_REASON_REQUESTED,
        create_time=endpoint.create_time,
        update_time=endpoint.update_time,
    )
    assert endpoint == expected
    assert await got(api, "main") == await got(api, endpoint.id) == endpoint


@pytest.mark.parametrize("by", ["id", "uid"])
async def test_an_endpoint_needs_a_url_only(api: Api, acme: Application, by: str) -> None:
    answer = await api(
        CreateEndpointRequest(application=getattr(acme, by), endpoint=Endpoint(url=URL))
    )

    endpoint = answer.endpoint
    assert endpoint == Endpoint(
        id=endpoint.id,
        application=acme.id,
        url=URL,
        signature_type=SIGNATURE_TYPE_HMAC_SHA256,
        create_time=endpoint.create_time,
        update_time=endpoint.update_time,
    )


async def test_limits_can_be_reached(api: Api) -> None:
    values: dict[str, Any] = {
        "uid": "u" * 256,
        "url": URL + "x" * (2_048 - len(URL)),
        "description": "ñ" * 1_024,
        "event_types": [f"e{number:03}" for number in range(500)],
        "channels": sorted("abcdefghij"),
        "headers": {f"h{number}": "v" for number in range(49)} | {"big": "v" * 4_096},
        "rate_limit": 100_000,
        **steps(*[DAY] * 20),
    }

    endpoint = await made(api, **values)

    for name, value in values.items():
        assert getattr(endpoint, name) == getattr(Endpoint(**{name: value}), name)


async def test_event_types_and_channels_are_kept_sorted_without_repeats(api: Api) -> None:
    endpoint = await made(api, event_types=["b", "a", "b"], channels=["b", "B", "a", "a"])

    assert endpoint.event_types == ["a", "b"]
    assert endpoint.channels == ["B", "a", "b"]


async def test_the_environment_decides_how_endpoints_sign_that_do_not_say(server: Server) -> None:
    tenant = await server.new_tenant(default_signature_type=SIGNATURE_TYPE_ED25519)
    await tenant.octohooks.application.create(uid="acme")

    unsaid = await made(tenant.api)
    said = await made(tenant.api, signature_type=SIGNATURE_TYPE_HMAC_SHA256)

    assert unsaid.signature_type == SIGNATURE_TYPE_ED25519
    assert said.signature_type == SIGNATURE_TYPE_HMAC_SHA256


async def test_a_uid_is_taken_once_in_an_application(api: Api, octohooks: AsyncOctohooks) -> None:
    first = await made(api, uid="main")

    refusal = await api.refusal(
        CreateEndpointRequest(application="acme", endpoint=Endpoint(url=URL, uid="main"))
    )

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("endpoint", "main")
    assert await listed(api) == [first]
    await octohooks.application.create(uid="other")
    elsewhere = await octohooks.endpoint.create("other", url=URL, uid="main")
    assert elsewhere.id != first.id
    assert await octohooks.endpoint.get("other", "main") == elsewhere


async def test_lists_answer_the_oldest_first_page_by_page(api: Api) -> None:
    endpoints = [await made(api, description=f"{number}") for number in range(3)]

    first = await api(ListEndpointsRequest(application="acme", page_size=2))
    second = await api(ListEndpointsRequest(application="acme", page_token=first.next_page_token))

    assert [list(first.endpoints), list(second.endpoints)] == [endpoints[:2], endpoints[2:]]
    assert not second.next_page_token


async def test_a_page_of_large_endpoints_ends_early_and_goes_on(api: Api) -> None:
    """A page ends after 2 MiB, well below what one gRPC message may hold."""
    headers = {f"h{number}": "v" * 4_096 for number in range(50)}
    endpoints = [await made(api, headers=headers) for _ in range(12)]

    first = await api(ListEndpointsRequest(application="acme"))
    second = await api(ListEndpointsRequest(application="acme", page_token=first.next_page_token))

    assert 1 < len(first.endpoints) < len(endpoints)
    assert first.ByteSize() < 2.1 * 1024 * 1024
    assert [*first.endpoints, *second.endpoints] == endpoints


@pytest.mark.parametrize("by", ["id", "uid"])
async def test_an_update_changes_what_it_names_and_nothing_else(api: Api, by: str) -> None:
    before = await made(
        api, uid="main", description="old", channels=["a"], headers={"a": "b"}, **steps(TIME)
    )

    answer = await api(
        update(getattr(before, by), "description", "channels", description="new", rate_limit=9)
    )

    after = answer.endpoint
    expected = Endpoint()
    expected.CopyFrom(before)
    expected.description = "new"
    expected.ClearField("channels")
    expected.update_time.CopyFrom(after.update_time)
    assert after == expected
    assert await got(api, before.id) == after


async def test_a_cleared_schedule_gives_the_environments_back(api: Api) -> None:
    await made(api, uid="main", **steps(TIME))

    answer = await api(update("main", "retry_schedule"))

    assert not answer.endpoint.HasField("retry_schedule")


async def test_an_update_cannot_take_a_uid_from_another(api: Api) -> None:
    await made(api, uid="main")
    other = await made(api, uid="other")

    refusal = await api.refusal(update("other", uid="main", description="x"))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("endpoint", "main")
    assert await got(api, "other") == other


async def test_an_update_makes_what_is_missing_where_it_may(api: Api) -> None:
    request = update("main", url=URL, description="lazy", allow_missing=True)

    first, again = (await api(request)).endpoint, (await api(request)).endpoint

    assert (first.uid, first.description) == ("main", "lazy")
    assert again.id == first.id
    assert len(await listed(api)) == 1


async def test_a_deleted_endpoint_is_gone_and_its_uid_free(api: Api) -> None:
    deleted = await made(api, uid="main")

    await api(DeleteEndpointRequest(application="acme", endpoint="main"))

    for reference in ("main", deleted.id):
        refusal = await api.refusal(GetEndpointRequest(application="acme", endpoint=reference))
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert await listed(api) == []
    assert (await made(api, uid="main")).id != deleted.id


async def cancelled(octohooks: AsyncOctohooks, reason: CancelReason.ValueType) -> list[Delivery]:
    """All deliveries of the environment, once all are cancelled for this reason."""

    async def look() -> list[Delivery]:
        deliveries = [one async for one in octohooks.delivery.list()]
        return deliveries if all(one.cancel_reason == reason for one in deliveries) else []

    return await eventually(look)


async def test_deleting_an_endpoint_cancels_what_is_pending(octohooks: AsyncOctohooks) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=URL, retry_schedule=[3600])
    sent = await octohooks.message.create("acme", event_type="e", payload={})

    await octohooks.endpoint.delete("acme", endpoint.id)

    (delivery,) = await cancelled(octohooks, CANCEL_REASON_ENDPOINT_DELETED)
    assert (delivery.message, delivery.endpoint) == (sent.id, endpoint.id)


async def test_disabling_an_endpoint_cancels_what_is_pending_and_enabling_lets_new_ones_through(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[3600])
    await octohooks.message.create("acme", event_type="e", payload={})

    disabled = await octohooks.endpoint.update("acme", endpoint.id, disabled=True)

    assert disabled.disabled
    assert disabled.disable_reason == DISABLE_REASON_REQUESTED
    await cancelled(octohooks, CANCEL_REASON_ENDPOINT_DISABLED)
    while_disabled = await octohooks.message.create("acme", event_type="e", payload={})
    assert not [one async for one in octohooks.delivery.list(message=while_disabled.id)]

    enabled = await octohooks.endpoint.update(
        "acme", endpoint.id, disabled=False, retry_schedule=None
    )
    assert not enabled.disabled
    assert not enabled.disable_reason
    sent = await octohooks.message.create("acme", event_type="e", payload={})
    assert (await receiver.next_request()).header("webhook-id") == sent.id


async def test_a_new_url_and_new_headers_apply_to_what_is_pending(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    async with Receiver(respond(500)) as old:
        endpoint = await octohooks.endpoint.create(
            "acme", url=old.url, headers={"X-Is": "old"}, retry_schedule=[0, 3600]
        )
        sent = await octohooks.message.create("acme", event_type="e", payload={})
        assert (await old.next_request()).header("x-is") == "old"

    await octohooks.endpoint.update("acme", endpoint.id, url=receiver.url, headers={"X-Is": "new"})
    await octohooks.delivery.resend(message=sent.id, endpoint=endpoint.id)

    request = await receiver.next_request()
    assert request.header("webhook-id") == sent.id
    assert request.header("x-is") == "new"
