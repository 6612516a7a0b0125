"""What EndpointService refuses, with the code, the reason and the field."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_GONE, Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    DeleteEndpointRequest,
    GetEndpointRequest,
    ListEndpointsRequest,
    UpdateEndpointRequest,
)

from tests.server.api.calls import Api

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

URL = "https://example.com/hook"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
TIME = {"seconds": 1}


def steps(*waits: dict[str, int]) -> dict[str, Any]:
    return {"retry_schedule": {"steps": list(waits)}}


WRONG_VALUES = [
    pytest.param({"uid": "an endpoint"}, "uid", id="a UID with a space"),
    pytest.param({"uid": "ep_1"}, "uid", id="a UID that begins as an ID"),
    pytest.param({"url": "ftp://example.com/"}, "url", id="a URL of another scheme"),
    pytest.param({"url": "example.com/hook"}, "url", id="a URL without a scheme"),
    pytest.param({"url": "https://user:word@example.com/"}, "url", id="a URL with a password"),
    pytest.param({"url": "https://example.com/#part"}, "url", id="a URL with a fragment"),
    pytest.param({"url": "https://10.0.0.1/hook"}, "url", id="a private address"),
    pytest.param({"url": "http://169.254.169.254/"}, "url", id="the metadata address of a cloud"),
    pytest.param({"url": "https://[::ffff:10.0.0.1]/"}, "url", id="a mapped private address"),
    pytest.param({"url": "https://example.com/" + "x" * 2_030}, "url", id="2,050 characters"),
    pytest.param({"description": "d" * 1_025}, "description", id="a long description"),
    pytest.param({"event_types": ["a.b", "a b"]}, "event_types[1]", id="a wrong event type"),
    pytest.param({"event_types": ["e"] * 501}, "event_types", id="501 event types"),
    pytest.param({"channels": ["a", "b!"]}, "channels[1]", id="a wrong channel"),
    pytest.param({"channels": ["c" * 129]}, "channels[0]", id="a channel of 129 characters"),
    pytest.param({"channels": list("abcdefghijk")}, "channels", id="11 channels"),
    pytest.param({"headers": {"Host": "a"}}, "headers", id="a header that HTTP sets"),
    pytest.param({"headers": {"Webhook-Id": "a"}}, "headers", id="a header that Octohooks sets"),
    pytest.param({"headers": {"proxy-x": "a"}}, "headers", id="a header for proxies"),
    pytest.param({"headers": {"a b": "c"}}, "headers", id="a header with a space in its name"),
    pytest.param({"headers": {"a": "b\r\nc: d"}}, "headers", id="a header with a line break"),
    pytest.param({"headers": {"a": "b" * 4_097}}, "headers", id="a header value above 4 KiB"),
    pytest.param({"headers": {f"h{n}": "" for n in range(51)}}, "headers", id="51 headers"),
    pytest.param({"rate_limit": 100_001}, "rate_limit", id="more than 100,000 per second"),
    pytest.param(steps(), "retry_schedule.steps", id="a schedule without steps"),
    pytest.param(steps(*[TIME] * 21), "retry_schedule.steps", id="a schedule of 21 steps"),
    pytest.param(
        steps({"seconds": 24 * 3600 + 1}), "retry_schedule.steps", id="a step above 24 hours"
    ),
    pytest.param(steps({"seconds": -1}), "retry_schedule.steps", id="a negative step"),
    pytest.param(
        steps({"seconds": 1, "nanos": -1}), "retry_schedule.steps", id="a step with two signs"
    ),
    pytest.param(
        steps({"seconds": 10**12}), "retry_schedule.steps", id="a step beyond all durations"
    ),
    pytest.param({"metadata": {"k": "v" * 4_090}}, "metadata", id="metadata above 4 KiB"),
]
OUTPUT_ONLY = [
    pytest.param({"id": NEVER}, "id", id="an ID"),
    pytest.param({"application": "acme"}, "application", id="an application"),
    pytest.param(
        {"disable_reason": DISABLE_REASON_GONE}, "disable_reason", id="a reason for disabling"
    ),
    pytest.param({"failing_since": TIME}, "failing_since", id="a time of failing"),
    pytest.param({"create_time": TIME}, "create_time", id="a creation time"),
    pytest.param({"update_time": TIME}, "update_time", id="a change time"),
]


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


@pytest.mark.parametrize(
    ("values", "field"),
    [*WRONG_VALUES, *OUTPUT_ONLY, pytest.param({"url": ""}, "url", id="no URL")],
)
async def test_creation_refuses_and_names_the_field(
    refusing: Api, values: dict[str, Any], field: str
) -> None:
    endpoint = Endpoint(**{"url": URL, **values})
    before = await listed(refusing)

    refusal = await refusing.refusal(CreateEndpointRequest(application="acme", endpoint=endpoint))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"endpoint.{field}"]
    assert await listed(refusing) == before


async def test_creation_names_as_many_wrong_fields_as_an_answer_can_hold(refusing: Api) -> None:
    """gRPC clients take 8 KiB of trailing metadata; a larger status would come as another error."""
    wrong = Endpoint(url=URL, event_types=["ü ü" * 1_000] * 500)

    refusal = await refusing.refusal(CreateEndpointRequest(application="acme", endpoint=wrong))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields[:2] == ["endpoint.event_types[0]", "endpoint.event_types[1]"]


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(NEVER, id="an ID that names nothing"),
        pytest.param("nobody", id="a UID that names nothing"),
        pytest.param("", id="nothing"),
    ],
)
@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(lambda it: GetEndpointRequest(application="acme", endpoint=it), id="get"),
        pytest.param(
            lambda it: DeleteEndpointRequest(application="acme", endpoint=it), id="delete"
        ),
        pytest.param(lambda it: update(it, description="d"), id="update"),
    ],
)
async def test_what_names_nothing_is_not_found(
    refusing: Api, request_of: Any, reference: str
) -> None:
    refusal = await refusing.refusal(request_of(reference))

    if reference:
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("endpoint", reference)
    else:
        assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert refusal.fields == ["endpoint"]


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(
            lambda it: CreateEndpointRequest(application=it, endpoint=Endpoint(url=URL)),
            id="create",
        ),
        pytest.param(lambda it: GetEndpointRequest(application=it, endpoint="main"), id="get"),
        pytest.param(lambda it: ListEndpointsRequest(application=it), id="list"),
        pytest.param(
            lambda it: UpdateEndpointRequest(application=it, endpoint="main"), id="update"
        ),
        pytest.param(
            lambda it: DeleteEndpointRequest(application=it, endpoint="main"), id="delete"
        ),
    ],
)
@pytest.mark.parametrize("reference", ["", "nobody"], ids=["none given", "none of that name"])
async def test_the_application_has_to_be_named_and_to_exist(
    refusing: Api, request_of: Any, reference: str
) -> None:
    refusal = await refusing.refusal(request_of(reference))

    if reference:
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("application", reference)
    else:
        assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert refusal.fields == ["application"]


async def test_a_negative_page_size_is_refused(refusing: Api) -> None:
    refusal = await refusing.refusal(ListEndpointsRequest(application="acme", page_size=-1))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


@pytest.mark.parametrize(("values", "field"), WRONG_VALUES)
@pytest.mark.parametrize("reference", ["main", "missing"])
async def test_an_update_refuses_and_names_the_field(
    refusing: Api, values: dict[str, Any], field: str, reference: str
) -> None:
    before = await listed(refusing)

    refusal = await refusing.refusal(
        update(reference, allow_missing=True, **{"url": URL, **values})
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {f"values.{field}"}
    assert await listed(refusing) == before


@pytest.mark.parametrize(("values", "field"), OUTPUT_ONLY)
async def test_an_update_refuses_output_only_fields_that_are_set(
    refusing: Api, values: dict[str, Any], field: str
) -> None:
    refusal = await refusing.refusal(update("main", **values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"values.{field}"]


async def test_a_url_cannot_be_cleared(refusing: Api) -> None:
    refusal = await refusing.refusal(update("main", "url"))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["values.url"]


@pytest.mark.parametrize(
    ("endpoint", "values", "field"),
    [
        pytest.param("missing", {}, "values.url", id="a URL is missing"),
        pytest.param("missing", {"url": URL, "uid": "other"}, "values.uid", id="another UID"),
        pytest.param("a b", {"url": URL}, "endpoint", id="what cannot be a UID"),
    ],
)
async def test_an_update_makes_nothing_when(
    refusing: Api, endpoint: str, values: dict[str, Any], field: str
) -> None:
    before = await listed(refusing)

    refusal = await refusing.refusal(update(endpoint, allow_missing=True, **values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert field in refusal.fields
    assert await listed(refusing) == before


async def test_an_update_makes_nothing_for_an_id(refusing: Api) -> None:
    refusal = await refusing.refusal(update(NEVER, url=URL, allow_missing=True))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("endpoint", NEVER)
