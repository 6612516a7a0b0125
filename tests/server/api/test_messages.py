"""MessageService: messages one by one."""

import json
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import GetApplicationRequest
from octohooks.v1.attempt_service_pb2 import GetAttemptRequest, ListDeliveriesRequest
from octohooks.v1.delivery_pb2 import CANCEL_REASON_PAYLOAD_DELETED, DELIVERY_STATUS_CANCELLED
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import ArchiveEventTypeRequest, CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageRequest,
    DeleteMessagePayloadRequest,
    GetMessageRequest,
    ListMessagesRequest,
)
from octohooks_server.rules.ids import is_id

from tests.receivers import Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.serving import Server
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

NEVER = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"
MOST_BYTES = 350 * 1024
DAY = 24 * 3600
TIME = {"seconds": 1}


def creation(to: str = "acme", /, **values: Any) -> CreateMessageRequest:
    message = Message(**{"event_type": "invoice.paid", "payload": b"{}", **values})
    return CreateMessageRequest(application=to, message=message)


async def made(api: Api, **values: Any) -> Message:
    message = (await api(creation(**values))).message
    assert isinstance(message, Message)
    return message


async def got(api: Api, message: str) -> Message:
    answer = await api(GetMessageRequest(application="acme", message=message))
    found = answer.message
    assert isinstance(found, Message)
    return found


async def listed(api: Api) -> list[Message]:
    return list((await api(ListMessagesRequest(application="acme"))).messages)


async def test_a_message_is_created_with_all_that_is_given(api: Api, acme: Application) -> None:
    values: dict[str, Any] = {
        "uid": "invoice-1",
        "event_type": "invoice.paid",
        "channels": ["a", "b"],
        "tags": {"order": "7"},
        "payload_retention": {"seconds": 5 * DAY},
    }

    message = await made(api, payload=b'{ "amount" : 1 }', **values)

    assert is_id(message.id, "msg_")
    expected = Message(
        **values,
        id=message.id,
        application=acme.id,
        payload_expire_time=message.payload_expire_time,
        create_time=message.create_time,
    )
    assert message == expected
    kept_for = message.payload_expire_time.ToDatetime() - message.create_time.ToDatetime()
    assert kept_for == timedelta(days=5)
    assert await listed(api) == [expected]
    expected.payload = b'{ "amount" : 1 }'
    assert await got(api, "invoice-1") == await got(api, message.id) == expected


@pytest.mark.parametrize(
    "payload",
    [
        b' {"b":1,\n\t"a":2.50e0,"a":3}\r\n',
        '"ünïcödé ☃ \U0001f419"'.encode(),
        b'"\\u00e9\\ud83d\\udc19"',
        b"null",
        b"0",
        b"[]",
        b"123456789012345678901234567890",
        b'"' + b"x" * (MOST_BYTES - 2) + b'"',
    ],
    ids=["spaces", "unicode", "escapes", "null", "zero", "an array", "a huge number", "350 KiB"],
)
async def test_a_payload_is_kept_and_sent_byte_for_byte(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver, payload: bytes
) -> None:
    await octohooks.endpoint.create("acme", url=receiver.url)

    message = await made(api, payload=payload)

    assert (await got(api, message.id)).payload == payload
    assert (await receiver.next_request()).body == payload


async def test_a_message_that_no_endpoint_wants_is_stored_all_the_same(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    await octohooks.endpoint.create("acme", url="https://example.com/", event_types=["other"])

    message = await made(api)

    assert await listed(api) == [message]
    assert not (await api(ListDeliveriesRequest())).deliveries


async def test_channels_are_kept_sorted_without_repeats(api: Api) -> None:
    assert (await made(api, channels=["b", "B", "a", "b"])).channels == ["B", "a", "b"]


async def test_limits_can_be_reached(api: Api) -> None:
    tags = {"k": "v" * (4096 - len('{"k":""}'))}

    message = await made(
        api,
        event_type="e" * 256,
        uid="u" * 256,
        channels=["c" * 128, *"1234"],
        tags=tags,
        payload_retention=Duration(seconds=90 * DAY),
    )

    assert (await got(api, "u" * 256)).id == message.id
    assert message.tags == tags


async def test_a_uid_is_taken_once_in_an_application(api: Api, octohooks: AsyncOctohooks) -> None:
    first = await made(api, uid="invoice-1")

    refusal = await api.refusal(creation(uid="invoice-1", payload=b"[]"))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("message", "invoice-1")
    assert await listed(api) == [first]
    await octohooks.application.create(uid="other")
    elsewhere = await octohooks.message.create("other", event_type="e", payload={}, uid="invoice-1")
    assert elsewhere.id != first.id


async def test_a_uid_stays_taken_when_the_payload_is_gone(api: Api) -> None:
    await made(api, uid="invoice-1")
    await api(DeleteMessagePayloadRequest(application="acme", message="invoice-1"))

    refusal = await api.refusal(creation(uid="invoice-1"))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")


async def test_an_archived_event_type_takes_no_message(api: Api) -> None:
    await api(CreateEventTypeRequest(event_type=EventType(name="invoice.paid")))
    await api(ArchiveEventTypeRequest(event_type="invoice.paid"))

    refusal = await api.refusal(creation())

    assert refusal.cause == ("FAILED_PRECONDITION", "EVENT_TYPE_ARCHIVED")
    assert await listed(api) == []


async def test_a_payload_that_breaks_its_schema_is_refused_where_schemas_are_enforced(
    server: Server, api: Api
) -> None:
    schema = json.dumps({"type": "object", "properties": {"amount": {"type": "integer"}}})
    strict = await server.new_tenant(enforce_schemas=True)
    await strict.octohooks.application.create(uid="acme")
    for environment in (strict.api, api):
        await environment(
            CreateEventTypeRequest(event_type=EventType(name="invoice.paid", schema=schema))
        )
    broken = creation(payload=b'{"amount":"seven"}')

    refusal = await strict.api.refusal(broken)

    assert refusal.cause == ("INVALID_ARGUMENT", "PAYLOAD_BREAKS_SCHEMA")
    assert refusal.fields == ["message.payload"]
    assert "/amount" in refusal.message
    assert "seven" not in str(refusal.status)
    assert (await strict.api(creation(payload=b'{"amount":7}'))).message.id
    assert (await api(broken)).message.id, "schemas only document unless they are enforced"


def inline(uid: str = "new", application: str = "", **values: Any) -> CreateMessageRequest:
    request = creation(application)
    request.inline_application.CopyFrom(Application(uid=uid, **values))
    return request


@pytest.mark.parametrize("application", ["", "new"], ids=["once", "twice"])
async def test_a_message_can_carry_its_application(api: Api, application: str) -> None:
    answer = await api(inline(application=application, name="New", rate_limit=3))

    made_inline = (await api(GetApplicationRequest(application="new"))).application
    assert answer.message.application == made_inline.id
    assert (made_inline.name, made_inline.rate_limit) == ("New", 3)


async def test_an_inline_application_that_exists_is_left_as_it_is(
    api: Api, acme: Application
) -> None:
    answer = await api(inline("acme", name="Changed?"))

    assert answer.message.application == acme.id
    assert (await api(GetApplicationRequest(application="acme"))).application == acme


async def test_a_refused_message_leaves_no_inline_application_behind(api: Api) -> None:
    request = inline("new")
    request.message.payload = b"no JSON"

    refusal = await api.refusal(request)

    assert refusal.fields == ["message.payload"]
    assert (await api.refusal(GetApplicationRequest(application="new"))).code == "NOT_FOUND"


async def test_lists_answer_the_newest_first_page_by_page_without_payloads(api: Api) -> None:
    messages = [await made(api) for _ in range(5)]

    first = await api(ListMessagesRequest(application="acme", page_size=3))
    second = await api(ListMessagesRequest(application="acme", page_token=first.next_page_token))

    assert [*first.messages, *second.messages] == messages[::-1]
    assert len(first.messages) == 3
    assert not second.next_page_token


async def test_a_deleted_payload_takes_the_response_bodies_along(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    async with Receiver(respond(200, b"thanks", [("x-is", "here")])) as receiver:
        endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
        message = await made(api, uid="invoice-1", payload=b'{"a":1}', tags={"k": "v"})

        async def attempts() -> Any:
            return [one async for one in octohooks.attempt.list(message=message.id)]

        (attempt,) = await eventually(attempts)
        full = (await api(GetAttemptRequest(attempt=attempt.id))).attempt
        assert full.response_body == b"thanks"

        answer = await api(DeleteMessagePayloadRequest(application="acme", message="invoice-1"))

    without = answer.message
    assert without.payload_deleted
    assert without.payload_expire_time.ToNanoseconds() < message.payload_expire_time.ToNanoseconds()
    assert (without.id, without.tags) == (message.id, {"k": "v"})
    assert await got(api, message.id) == without
    assert await listed(api) == [without]
    emptied = (await api(GetAttemptRequest(attempt=attempt.id))).attempt
    full.ClearField("response_body")
    assert emptied == full
    delivery = await octohooks.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery.status != DELIVERY_STATUS_CANCELLED, "what has ended stays as it was"


async def test_a_deleted_payload_cancels_what_is_pending(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    endpoint = await octohooks.endpoint.create(
        "acme", url="https://example.com/", retry_schedule=[3600]
    )
    message = await made(api)

    await api(DeleteMessagePayloadRequest(application="acme", message=message.id))

    delivery = await octohooks.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert delivery.cancel_reason == CANCEL_REASON_PAYLOAD_DELETED


async def test_deleting_a_payload_twice_is_not_an_error(api: Api) -> None:
    message = await made(api)
    request = DeleteMessagePayloadRequest(application="acme", message=message.id)

    first, again = await api(request), await api(request)

    assert again == first


async def test_the_payload_is_kept_as_long_as_the_environment_says(server: Server) -> None:
    tenant = await server.new_tenant(payload_retention=Duration(seconds=7 * DAY))
    await tenant.octohooks.application.create(uid="acme")

    message = await made(tenant.api)
    own = await made(tenant.api, payload_retention={"seconds": 20 * DAY})

    def kept_for(one: Message) -> timedelta:
        return one.payload_expire_time.ToDatetime() - one.create_time.ToDatetime()

    assert kept_for(message) == timedelta(days=7)
    assert not message.HasField("payload_retention")
    assert kept_for(own) == timedelta(days=20)


async def test_a_deleted_applications_messages_are_not_found(
    api: Api, octohooks: AsyncOctohooks, acme: Application
) -> None:
    message = await made(api)
    await octohooks.application.delete("acme")

    refusal = await api.refusal(GetMessageRequest(application=acme.id, message=message.id))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("application", acme.id)
