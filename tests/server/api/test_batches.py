"""BatchCreateMessages: several messages in one call, each with a result of its own."""

import asyncio

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import GetApplicationRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    CreateMessageResult,
    ListMessagesRequest,
)

from tests.receivers import Receiver
from tests.server.api.calls import Api, refusal_in
from tests.server.api.home import Home
from tests.server.api.serving import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]


def one(
    application: str = "acme", *, event_type: str = "e", payload: bytes = b"{}", uid: str = ""
) -> CreateMessageRequest:
    message = Message(event_type=event_type, payload=payload, uid=uid)
    return CreateMessageRequest(application=application, message=message)


async def send(api: Api, *requests: CreateMessageRequest) -> list[CreateMessageResult]:
    return list((await api(BatchCreateMessagesRequest(requests=requests))).results)


async def listed(api: Api) -> list[Message]:
    """The messages of `acme`, oldest first."""
    page = await api(ListMessagesRequest(application="acme", page_size=250))
    return list(page.messages)[::-1]


async def test_a_batch_answers_in_the_order_of_its_requests(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.endpoint.create("acme", url=receiver.url)

    results = await send(api, *(one(payload=b"%d" % number) for number in range(100)))

    messages = [result.message for result in results]
    assert messages == await listed(api)
    arrived = [await receiver.next_request() for _ in range(100)]
    assert {request.header("webhook-id"): request.body for request in arrived} == {
        message.id: b"%d" % number for number, message in enumerate(messages)
    }


async def test_refused_messages_do_not_keep_the_others_from_being_accepted(api: Api) -> None:
    await api(CreateEventTypeRequest(event_type=EventType(name="old", archived=True)))

    results = await send(
        api,
        one(uid="first"),
        one(payload=b"{"),
        one("nobody"),
        one(),
        one(uid="first"),
        one(event_type="old"),
        one(payload=b'"' + b"x" * 358_400 + b'"'),
        CreateMessageRequest(application="acme"),
        CreateMessageRequest(),
        one(),
    )

    kinds = [result.WhichOneof("result") for result in results]
    assert kinds == ["message", *["failure"] * 2, "message", *["failure"] * 5, "message"]
    failures = [refusal_in(result.failure) for result in results if result.HasField("failure")]
    assert [(*failure.cause, failure.fields) for failure in failures] == [
        ("INVALID_ARGUMENT", "INVALID_FIELD", ["message.payload"]),
        ("NOT_FOUND", "NOT_FOUND", []),
        ("ALREADY_EXISTS", "UID_TAKEN", []),
        ("FAILED_PRECONDITION", "EVENT_TYPE_ARCHIVED", []),
        ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", []),
        ("INVALID_ARGUMENT", "INVALID_FIELD", ["message.event_type", "message.payload"]),
        (
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
            ["message.event_type", "message.payload", "application"],
        ),
    ]
    assert failures[1].resource == ("application", "nobody")
    assert failures[2].resource == ("message", "first")
    assert await listed(api) == [result.message for result in results if result.HasField("message")]


async def test_a_batch_may_be_refused_message_by_message_to_the_last(api: Api) -> None:
    results = await send(api, one("nobody"), one("nobody"))

    assert [refusal_in(result.failure).code for result in results] == ["NOT_FOUND"] * 2


async def test_messages_of_one_batch_can_share_an_inline_application(api: Api) -> None:
    request = one("")
    request.inline_application.CopyFrom(Application(uid="new", name="New"))

    results = await send(api, request, request, one("new"))

    application = (await api(GetApplicationRequest(application="new"))).application
    assert {result.message.application for result in results} == {application.id}
    assert len({result.message.id for result in results}) == 3


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_holds_1_to_100_messages(api: Api, count: int) -> None:
    refusal = await api.refusal(BatchCreateMessagesRequest(requests=[one()] * count))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["requests"]
    assert await listed(api) == []


async def test_many_batches_of_unknown_event_types_need_no_more_connections_than_there_are(
    home: Home,
) -> None:
    """What is checked before a batch is stored must not wait for a connection that it holds."""
    async with serving(home, database_connections=2) as server:
        tenant = await server.new_tenant()
        await tenant.octohooks.application.create(uid="acme")
        batches = [
            BatchCreateMessagesRequest(
                requests=[
                    CreateMessageRequest(
                        application="acme",
                        message=Message(event_type=f"e{batch}.{number}", payload=b"{}"),
                    )
                    for number in range(5)
                ]
            )
            for batch in range(12)
        ]
        answers = await asyncio.gather(*map(tenant.api, batches))
    assert all(result.HasField("message") for answer in answers for result in answer.results)
