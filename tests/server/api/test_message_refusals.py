"""What MessageService refuses, with the code, the reason and the field."""

from typing import Any

import pytest
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import ListApplicationsRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageRequest,
    DeleteMessagePayloadRequest,
    GetMessageRequest,
    ListMessagesRequest,
)

from tests.server.api.calls import Api

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

NEVER = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"
MOST_BYTES = 350 * 1024
DAY = 24 * 3600
TIME = {"seconds": 1}

WRONG_VALUES = [
    pytest.param({"event_type": ""}, "event_type", id="no event type"),
    pytest.param({"event_type": "invoice paid"}, "event_type", id="a wrong event type"),
    pytest.param({"event_type": "e" * 257}, "event_type", id="an event type of 257 characters"),
    pytest.param({"payload": b""}, "payload", id="no payload"),
    pytest.param({"payload": b"{"}, "payload", id="a payload that is no JSON"),
    pytest.param({"payload": b'{"a":NaN}'}, "payload", id="a payload with NaN"),
    pytest.param({"payload": b'"\xff"'}, "payload", id="a payload that is no UTF-8"),
    pytest.param({"payload": b"{} {}"}, "payload", id="a payload of two documents"),
    pytest.param({"uid": "a message"}, "uid", id="a UID with a space"),
    pytest.param({"uid": "msg_1"}, "uid", id="a UID that begins as an ID"),
    pytest.param({"channels": list("abcdef")}, "channels", id="6 channels"),
    pytest.param({"channels": ["a", "b c"]}, "channels[1]", id="a wrong channel"),
    pytest.param({"channels": [""]}, "channels[0]", id="an empty channel"),
    pytest.param({"tags": {"k": "v" * 4_090}}, "tags", id="tags above 4 KiB"),
    pytest.param(
        {"payload_retention": {"seconds": 5 * DAY - 1}}, "payload_retention", id="kept too short"
    ),
    pytest.param(
        {"payload_retention": {"seconds": 90 * DAY + 1}}, "payload_retention", id="kept too long"
    ),
    pytest.param({"payload_retention": {}}, "payload_retention", id="kept for no time at all"),
    pytest.param({"id": NEVER}, "id", id="an ID"),
    pytest.param({"application": "acme"}, "application", id="an application in the message"),
    pytest.param({"payload_expire_time": TIME}, "payload_expire_time", id="a time of expiry"),
    pytest.param({"payload_deleted": True}, "payload_deleted", id="a payload said to be deleted"),
    pytest.param({"create_time": TIME}, "create_time", id="a creation time"),
]


def creation(to: str = "acme", /, **values: Any) -> CreateMessageRequest:
    message = Message(**{"event_type": "invoice.paid", "payload": b"{}", **values})
    return CreateMessageRequest(application=to, message=message)


def inline(uid: str = "new", application: str = "", **values: Any) -> CreateMessageRequest:
    request = creation(application)
    request.inline_application.CopyFrom(Application(uid=uid, **values))
    return request


async def listed(api: Api) -> list[Message]:
    return list((await api(ListMessagesRequest(application="acme"))).messages)


@pytest.mark.parametrize(("values", "field"), WRONG_VALUES)
async def test_creation_refuses_and_names_the_field(
    refusing: Api, values: dict[str, Any], field: str
) -> None:
    before = await listed(refusing)

    refusal = await refusing.refusal(creation(**values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"message.{field}"]
    assert await listed(refusing) == before


async def test_a_payload_that_is_too_large_is_refused(refusing: Api) -> None:
    before = await listed(refusing)

    refusal = await refusing.refusal(creation(payload=b'"' + b"x" * (MOST_BYTES - 1) + b'"'))

    assert refusal.cause == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
    assert await listed(refusing) == before


async def test_no_part_of_a_payload_comes_back_in_a_refusal(refusing: Api) -> None:
    refusal = await refusing.refusal(creation(payload=b'{"password": hunter2}'))

    assert "hunter2" not in str(refusal.status)


@pytest.mark.parametrize(
    ("application", "code", "about"),
    [
        pytest.param("", "INVALID_ARGUMENT", ["application"], id="none given"),
        pytest.param("nobody", "NOT_FOUND", ("application", "nobody"), id="an unknown UID"),
        pytest.param(
            "app_01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "NOT_FOUND",
            ("application", "app_01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            id="an unknown ID",
        ),
    ],
)
async def test_the_application_has_to_be_named_and_to_exist(
    refusing: Api, application: str, code: str, about: Any
) -> None:
    for request in (
        creation(application),
        GetMessageRequest(application=application, message="m"),
        ListMessagesRequest(application=application),
        DeleteMessagePayloadRequest(application=application, message="m"),
    ):
        refusal = await refusing.refusal(request)
        assert refusal.code == code
        assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        pytest.param(inline(""), "inline_application.uid", id="no UID"),
        pytest.param(inline("app_1"), "inline_application.uid", id="a UID that begins as an ID"),
        pytest.param(inline("new", "acme"), "application", id="two applications"),
        pytest.param(
            inline("new", name="n" * 257), "inline_application.name", id="a name that is too long"
        ),
        pytest.param(
            inline("new", rate_limit=100_001), "inline_application.rate_limit", id="a rate limit"
        ),
        pytest.param(
            inline("new", metadata={"k": "v" * 4_090}), "inline_application.metadata", id="metadata"
        ),
        pytest.param(inline("new", id="app_1"), "inline_application.id", id="an output-only field"),
    ],
)
async def test_an_inline_application_is_refused_by_field(
    refusing: Api, request_: CreateMessageRequest, field: str
) -> None:
    before = (await refusing(ListApplicationsRequest())).applications

    refusal = await refusing.refusal(request_)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [field]
    assert (await refusing(ListApplicationsRequest())).applications == before


@pytest.mark.parametrize("message", [NEVER, "none", ""], ids=["unknown ID", "unknown UID", "none"])
@pytest.mark.parametrize(
    "request_type", [GetMessageRequest, DeleteMessagePayloadRequest], ids=["get", "delete payload"]
)
async def test_the_message_has_to_be_named_and_to_exist(
    refusing: Api, request_type: Any, message: str
) -> None:
    refusal = await refusing.refusal(request_type(application="acme", message=message))

    if message:
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("message", message)
    else:
        assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert refusal.fields == ["message"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        pytest.param({"page_size": -1}, "page_size", id="a negative page size"),
        pytest.param({"event_types": ["a", "b c"]}, "event_types[1]", id="a wrong event type"),
        pytest.param({"event_types": ["e"] * 51}, "event_types", id="51 event types"),
        pytest.param({"channels": ["!"]}, "channels[0]", id="a wrong channel"),
        pytest.param({"channels": ["c"] * 11}, "channels", id="11 channels"),
        pytest.param({"tags": {f"{n}": "" for n in range(11)}}, "tags", id="11 tags"),
        pytest.param({"after": {"seconds": 10**12}}, "after", id="a time beyond the year 9999"),
        pytest.param({"before": {"seconds": -(10**12)}}, "before", id="a time before the year 1"),
        pytest.param({"after": {"seconds": 5, "nanos": -1}}, "after", id="a malformed time"),
        pytest.param(
            {"after": {"seconds": 5}, "before": {"seconds": 5}}, "before", id="an empty range"
        ),
    ],
)
async def test_a_list_refuses_and_names_the_field(
    refusing: Api, values: dict[str, Any], field: str
) -> None:
    refusal = await refusing.refusal(ListMessagesRequest(application="acme", **values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [field]
