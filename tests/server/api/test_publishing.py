"""PublishMessages: a stream that acknowledges each message once it is durable."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import grpc.aio
import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageRequest,
    ListMessagesRequest,
    PublishMessagesRequest,
    PublishMessagesResponse,
)

from tests.receivers import Receiver
from tests.server.api.calls import Api, refusal_in, refusal_of
from tests.server.api.home import Home
from tests.server.api.rpcs import BY_METHOD
from tests.server.api.serving import Server, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

RPC = BY_METHOD["PublishMessages"]


def one(
    application: str = "acme", *, payload: bytes = b"{}", key: str = "", uid: str = ""
) -> PublishMessagesRequest:
    message = Message(event_type="e", payload=payload, uid=uid)
    return PublishMessagesRequest(
        message=CreateMessageRequest(application=application, message=message),
        idempotency_key=key,
    )


async def publish(
    api: Api, requests: Iterable[PublishMessagesRequest]
) -> list[PublishMessagesResponse]:
    return await api.exchange(RPC, [request.SerializeToString() for request in requests])


async def listed(api: Api, limit: int = 250) -> list[Message]:
    """The messages of `acme`, oldest first."""
    page = await api(ListMessagesRequest(application="acme", page_size=limit))
    return list(page.messages)[::-1]


async def test_each_message_is_acknowledged_in_order_and_the_stream_ends_with_ok(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.endpoint.create("acme", url=receiver.url)

    answers = await publish(api, [one(payload=b"%d" % number) for number in range(200)])

    assert [answer.number for answer in answers] == list(range(1, 201))
    messages = [answer.result.message for answer in answers]
    assert {message.id for message in messages} == {message.id for message in await listed(api)}
    arrived = [await receiver.next_request() for _ in range(200)]
    assert {request.header("webhook-id"): request.body for request in arrived} == {
        message.id: b"%d" % number for number, message in enumerate(messages)
    }


async def test_a_stream_without_messages_ends_with_ok(api: Api) -> None:
    assert await publish(api, []) == []


async def test_refused_messages_are_told_in_their_place_and_the_stream_goes_on(api: Api) -> None:
    await api(CreateEventTypeRequest(event_type=EventType(name="old", archived=True)))
    archived = one()
    archived.message.message.event_type = "old"

    answers = await publish(
        api,
        [
            one(uid="first"),
            one(payload=b"{"),
            one("nobody"),
            one(uid="first"),
            archived,
            one(payload=b'"' + b"x" * 358_400 + b'"'),
            PublishMessagesRequest(),
            one(key="k" * 257),
            one(key="k" * 256),
        ],
    )

    refusals = [refusal_in(answer.result.failure) for answer in answers[1:-1]]
    assert [answer.number for answer in answers] == list(range(1, 10))
    assert [(*refusal.cause, refusal.fields) for refusal in refusals] == [
        ("INVALID_ARGUMENT", "INVALID_FIELD", ["message.payload"]),
        ("NOT_FOUND", "NOT_FOUND", []),
        ("ALREADY_EXISTS", "UID_TAKEN", []),
        ("FAILED_PRECONDITION", "EVENT_TYPE_ARCHIVED", []),
        ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", []),
        (
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
            ["message.event_type", "message.payload", "application"],
        ),
        ("INVALID_ARGUMENT", "INVALID_FIELD", ["idempotency_key"]),
    ]
    accepted = [answers[0].result.message, answers[-1].result.message]
    # The order of IDs that are made in the same millisecond is by chance.
    assert sorted(accepted, key=lambda message: str(message.id)) == await listed(api)


async def test_bytes_that_are_no_message_end_the_stream_after_what_came_before(api: Api) -> None:
    call = api.open(RPC, [one().SerializeToString(), b"\xff\xff"])

    first = await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()

    refusal = refusal_of(caught.value)
    assert refusal.cause == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")
    assert [first.result.message] == await listed(api)


async def test_an_acknowledgement_does_not_wait_for_the_next_message(api: Api) -> None:
    """What is acknowledged can be read at once, while the stream is still open."""
    going_on = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield one().SerializeToString()
        await going_on.wait()
        yield one().SerializeToString()

    answers = aiter(api.open(RPC, requests()))

    first = await anext(answers)
    assert [first.result.message] == await listed(api)
    going_on.set()
    assert (await anext(answers)).number == 2
    assert [answer async for answer in answers] == []


async def test_a_busy_server_reads_no_further_and_the_callers_sends_wait(
    server: Server, api: Api
) -> None:
    sent = 0
    count = 600

    async def requests() -> AsyncIterator[bytes]:
        nonlocal sent
        payload = b'"' + b"x" * 20_000 + b'"'
        for _ in range(count):
            yield one(payload=payload).SerializeToString()
            sent += 1

    async def stands_still() -> bool:
        before = sent
        for _ in range(20):
            await listed(api, limit=1)
        return 0 < before == sent

    # Whoever else writes to the database keeps the server waiting.
    async with server.home.locked():
        call = api.open(RPC, requests())
        await eventually(stands_still)
        assert sent < count

    assert [answer.number async for answer in call] == list(range(1, count + 1))
    assert sent == count


async def test_a_stopping_server_ends_the_stream_with_unavailable(home: Home) -> None:
    going_on = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield one().SerializeToString()
        await going_on.wait()

    running = AsyncExitStack()
    server = await running.enter_async_context(serving(home))
    tenant = await server.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    # A channel that outlives those of the server's block.
    async with grpc.aio.insecure_channel(server.address) as channel:
        answers = aiter(Api(channel, tenant.key).open(RPC, requests()))
        assert (await anext(answers)).number == 1

        stopping = asyncio.create_task(running.aclose())

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(answers)
        assert refusal_of(caught.value).cause == ("UNAVAILABLE", "SHUTTING_DOWN")
        going_on.set()
        await stopping
