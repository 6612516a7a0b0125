"""Publishing: acknowledgements in order, a bounded window, and nothing lost or doubled by a cut."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from octohooks import (
    Acknowledgement,
    AlreadyExists,
    AsyncOctohooks,
    Cancelled,
    NotFound,
    Octohooks,
    Unavailable,
)
from octohooks.v1.error_pb2 import Failure
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageRequest,
    CreateMessageResult,
    PublishMessagesRequest,
    PublishMessagesResponse,
)
from octohooks.values import PublishedMessage

from tests.sdk.fake_server import (
    FakeServer,
    Handler,
    leave_waiting_at_a_stop,
    refuse,
    until_cancelled,
)

Requests = Iterator[PublishMessagesRequest]


def message(uid: str, **values: Any) -> PublishedMessage:
    fields = {"application": "some-user", "event_type": "x", "payload": {}, "uid": uid, **values}
    return cast(PublishedMessage, fields)


def messages(count: int) -> list[PublishedMessage]:
    return [message(str(number)) for number in range(1, count + 1)]


def uid_of(request: PublishMessagesRequest) -> str:
    return request.message.message.uid


def acknowledged(number: int, request: PublishMessagesRequest) -> PublishMessagesResponse:
    stored = Message(id=f"msg_{uid_of(request)}", uid=uid_of(request))
    return PublishMessagesResponse(number=number, result=CreateMessageResult(message=stored))


class Store:
    """Accepts what is published, each idempotency key once; cuts streams where a test says so."""

    def __init__(self) -> None:
        self.received: list[PublishMessagesRequest] = []
        self.accepted: dict[str, PublishMessagesRequest] = {}

    def accept(self, requests: Requests) -> Iterator[PublishMessagesResponse]:
        for number, request in enumerate(requests, start=1):
            self.received.append(request)
            self.accepted.setdefault(request.idempotency_key, request)
            yield acknowledged(number, request)

    def cut_after(self, count: int) -> Handler:
        """A stream that stores one message more than it acknowledges, and is cut."""

        def handle(
            requests: Requests, context: grpc.ServicerContext
        ) -> Iterator[PublishMessagesResponse]:
            for number, response in enumerate(self.accept(requests), start=1):
                if number > count:
                    refuse(context, grpc.StatusCode.UNAVAILABLE, "shutting down")
                yield response

        return handle

    def to_the_end(self, requests: Requests, _: Any) -> Iterator[PublishMessagesResponse]:
        return self.accept(requests)

    @property
    def uids(self) -> list[str]:
        return [uid_of(request) for request in self.accepted.values()]


@pytest.fixture
def store(server: FakeServer) -> Store:
    store = Store()
    server.on("PublishMessages", store.to_the_end)
    return store


def in_turn(server: FakeServer, *handlers: Handler) -> None:
    """Serves the first stream by the first handler, the second by the second, and so on."""
    left = list(handlers)
    server.on("PublishMessages", lambda requests, context: left.pop(0)(requests, context))


def results(acknowledgements: Iterable[Acknowledgement]) -> list[str]:
    return [
        acknowledgement.result.uid
        for acknowledgement in acknowledgements
        if isinstance(acknowledgement.result, Message)
    ]


def test_each_message_is_acknowledged_in_its_order(client: Octohooks, store: Store) -> None:
    acknowledgements = [*client.message.publish(messages(5))]
    assert [a.number for a in acknowledgements] == [1, 2, 3, 4, 5]
    assert results(acknowledgements) == ["1", "2", "3", "4", "5"]
    assert store.uids == ["1", "2", "3", "4", "5"]


def test_the_messages_are_sent_as_their_values_say(
    client: Octohooks, server: FakeServer, store: Store
) -> None:
    published = message(
        "1",
        payload=b"[ ]",
        channels=["eu"],
        tags={"a": "b"},
        payload_retention=5,
        inline_application={"name": "Some User"},
        idempotency_key="own-key",
    )
    [acknowledgement] = client.message.publish([published])
    assert acknowledgement.idempotency_key == "own-key"
    request = CreateMessageRequest(
        application="some-user",
        message=Message(
            event_type="x",
            payload=b"[ ]",
            uid="1",
            channels=["eu"],
            tags={"a": "b"},
            payload_retention=Duration(seconds=5),
        ),
    )
    request.inline_application.uid = "some-user"
    request.inline_application.name = "Some User"
    assert store.received == [PublishMessagesRequest(message=request, idempotency_key="own-key")]
    assert server.received[0].metadata["authorization"] == "Bearer key"


def test_each_message_carries_an_idempotency_key_of_its_own(
    client: Octohooks, store: Store
) -> None:
    acknowledgements = [*client.message.publish(messages(3))]
    keys = [request.idempotency_key for request in store.received]
    assert len(set(keys)) == 3
    assert all(keys)
    assert [a.idempotency_key for a in acknowledgements] == keys


def test_publishing_nothing_ends_at_once(client: Octohooks, store: Store) -> None:
    assert [*client.message.publish([])] == []


def test_a_message_that_is_refused_does_not_keep_the_others_from_being_sent(
    client: Octohooks, server: FakeServer
) -> None:
    def refuse_the_second(requests: Requests, _: Any) -> Iterator[PublishMessagesResponse]:
        for number, request in enumerate(requests, start=1):
            if number == 2:
                taken = Failure(code=grpc.StatusCode.ALREADY_EXISTS.value[0], message="taken")
                yield PublishMessagesResponse(
                    number=number, result=CreateMessageResult(failure=taken)
                )
            else:
                yield acknowledged(number, request)

    server.on("PublishMessages", refuse_the_second)
    one, two, three = client.message.publish(messages(3))
    assert isinstance(two.result, AlreadyExists)
    assert two.number == 2
    assert results([one, three]) == ["1", "3"]


def test_no_more_messages_are_read_than_the_window_holds(
    client: Octohooks, server: FakeServer
) -> None:
    window = 3
    under_way = 0
    most = 0
    lock = threading.Lock()

    def counted() -> Iterator[PublishedMessage]:
        nonlocal under_way, most
        for published in messages(20):
            with lock:
                under_way += 1
                most = max(most, under_way)
            yield published

    def acknowledge_full_windows(requests: Requests, _: Any) -> Iterator[PublishMessagesResponse]:
        nonlocal under_way
        waiting: list[PublishMessagesResponse] = []
        for number, request in enumerate(requests, start=1):
            waiting.append(acknowledged(number, request))
            if len(waiting) == window or number == 20:
                for response in waiting:
                    with lock:
                        under_way -= 1
                    yield response
                waiting.clear()

    server.on("PublishMessages", acknowledge_full_windows)
    assert len([*client.message.publish(counted(), window=window)]) == 20
    assert most == window


def test_a_message_is_acknowledged_while_the_next_one_is_not_there_yet(
    server: FakeServer, store: Store
) -> None:
    coming: queue.SimpleQueue[PublishedMessage | None] = queue.SimpleQueue()

    def as_they_come() -> Iterator[PublishedMessage]:
        while (published := coming.get()) is not None:
            yield published

    with Octohooks("key", target=server.target) as client:
        acknowledgements = client.message.publish(as_they_come())
        for uid in ("1", "2"):
            coming.put(message(uid))
            assert results([next(acknowledgements)]) == [uid]
        coming.put(None)
        assert [*acknowledgements] == []


async def test_with_asyncio_too_a_message_is_acknowledged_while_the_next_one_is_not_there_yet(
    server: FakeServer, store: Store
) -> None:
    coming: asyncio.Queue[PublishedMessage | None] = asyncio.Queue()

    async def as_they_come() -> AsyncIterator[PublishedMessage]:
        while (published := await coming.get()) is not None:
            yield published

    async with AsyncOctohooks("key", target=server.target) as client:
        acknowledgements = client.message.publish(as_they_come())
        for uid in ("1", "2"):
            await coming.put(message(uid))
            assert results([await anext(acknowledgements)]) == [uid]
        await coming.put(None)
        assert [a async for a in acknowledgements] == []


def test_what_is_not_acknowledged_before_a_cut_is_sent_again_with_the_same_keys(
    client: Octohooks, server: FakeServer, store: Store
) -> None:
    in_turn(server, store.cut_after(3), store.cut_after(2), store.to_the_end)
    acknowledgements = [*client.message.publish(messages(10), window=4)]
    assert [a.number for a in acknowledgements] == [*range(1, 11)]
    assert results(acknowledgements) == [str(number) for number in range(1, 11)]
    assert store.uids == [str(number) for number in range(1, 11)]
    # Of each cut stream one message was stored and not acknowledged, and came again.
    assert len(store.received) == 12


def test_a_server_that_ends_the_stream_early_is_connected_to_again(
    client: Octohooks, server: FakeServer, store: Store
) -> None:
    def hang_up(requests: Requests, _: Any) -> Iterator[PublishMessagesResponse]:
        yield acknowledged(1, next(requests))

    in_turn(server, hang_up, store.to_the_end)
    assert results(client.message.publish(messages(3))) == ["1", "2", "3"]


def test_a_stream_that_a_stopping_server_never_began_is_sent_to_the_next_one(
    client: Octohooks, server: FakeServer, store: Store
) -> None:
    def left_waiting(_: Requests, context: grpc.ServicerContext) -> Any:
        leave_waiting_at_a_stop(context)

    in_turn(server, left_waiting, store.cut_after(1), left_waiting, store.to_the_end)
    assert results(client.message.publish(messages(3))) == ["1", "2", "3"]


def test_closing_the_client_ends_publishing_without_another_try(
    client: Octohooks, server: FakeServer
) -> None:
    arrived = threading.Event()
    streams = 0

    def never_acknowledge(_: Requests, context: grpc.ServicerContext) -> Any:
        nonlocal streams
        streams += 1
        ended = until_cancelled(context)
        arrived.set()
        ended.wait()
        return iter(())

    server.on("PublishMessages", never_acknowledge)
    with ThreadPoolExecutor(1) as thread:
        publishing = thread.submit(next, client.message.publish(messages(3)))
        arrived.wait()
        client.close()
        with pytest.raises(Cancelled):
            publishing.result()
    assert streams == 1


def test_publishing_is_given_up_when_nothing_is_acknowledged_ten_times_in_a_row(
    client: Octohooks, server: FakeServer, store: Store
) -> None:
    streams = 0

    def cut(requests: Requests, context: grpc.ServicerContext) -> Any:
        nonlocal streams
        streams += 1
        refuse(context, grpc.StatusCode.UNAVAILABLE, "away")

    in_turn(server, store.cut_after(1), *[cut] * 10)
    acknowledgements = client.message.publish(messages(3))
    assert results([next(acknowledgements)]) == ["1"]
    with pytest.raises(Unavailable):
        next(acknowledgements)
    assert streams == 9


def test_other_refusals_end_publishing(client: Octohooks, server: FakeServer) -> None:
    def not_found(requests: Requests, context: grpc.ServicerContext) -> Any:
        # When a stream ends while something is being sent, grpc.aio may lose why it did.
        for _ in requests:
            pass
        refuse(context, grpc.StatusCode.NOT_FOUND, "no such thing")

    server.on("PublishMessages", not_found)
    with pytest.raises(NotFound, match="no such thing"):
        next(client.message.publish(messages(3)))


class BrokenSourceError(Exception):
    """What a caller's own iterable raises."""


def test_an_error_of_the_iterable_comes_out_after_the_acknowledgements_of_what_it_gave(
    client: Octohooks, store: Store
) -> None:
    def broken() -> Iterator[PublishedMessage]:
        yield from messages(2)
        raise BrokenSourceError

    acknowledgements = client.message.publish(broken())
    assert results([next(acknowledgements), next(acknowledgements)]) == ["1", "2"]
    with pytest.raises(BrokenSourceError):
        next(acknowledgements)
    assert store.uids == ["1", "2"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"nmae": "x"}, TypeError),
        ({"payload": {1, 2}}, TypeError),
        ({"idempotency_key": "a b"}, ValueError),
    ],
)
def test_a_message_that_cannot_be_sent_comes_out_as_the_error_that_it_is(
    values: dict[str, Any], error: type[Exception], client: Octohooks, store: Store
) -> None:
    acknowledgements = client.message.publish([message("1"), message("2", **values)])
    assert results([next(acknowledgements)]) == ["1"]
    with pytest.raises(error):
        next(acknowledgements)
    assert store.uids == ["1"]


def test_a_window_of_less_than_one_is_refused(client: Octohooks) -> None:
    with pytest.raises(ValueError, match="window"):
        client.message.publish([], window=0)


def acknowledge_the_first(left: threading.Event) -> Handler:
    def handle(
        requests: Requests, context: grpc.ServicerContext
    ) -> Iterator[PublishMessagesResponse]:
        if not context.add_callback(left.set):
            left.set()
        yield acknowledged(1, next(requests))
        left.wait()

    return handle


def test_leaving_the_iteration_ends_the_stream_and_the_reading(
    client: Octohooks, server: FakeServer
) -> None:
    left = threading.Event()
    server.on("PublishMessages", acknowledge_the_first(left))
    read = 0

    def endless() -> Iterator[PublishedMessage]:
        nonlocal read
        while True:
            read += 1
            yield message(str(read))

    before = {*threading.enumerate()}
    for _ in client.message.publish(endless(), window=5):
        break
    left.wait()
    for thread in {*threading.enumerate()} - before:
        if thread.name == "octohooks-publish":
            thread.join()
    assert read <= 6


async def test_an_error_of_an_asynchronous_iterable_comes_out(
    server: FakeServer, store: Store
) -> None:
    async def broken() -> AsyncIterator[PublishedMessage]:
        yield message("1")
        raise BrokenSourceError

    async with AsyncOctohooks("key", target=server.target) as client:
        acknowledgements = client.message.publish(broken())
        assert results([await anext(acknowledgements)]) == ["1"]
        with pytest.raises(BrokenSourceError):
            await anext(acknowledgements)
