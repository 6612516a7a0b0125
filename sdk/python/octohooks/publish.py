"""Publishing: many messages over one stream, a bounded number of them under way."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio

from octohooks.backoff import Backoff
from octohooks.cancellation import task_is_cancelled
from octohooks.errors import (
    Cancelled,
    OctohooksError,
    Unavailable,
    error_from_failure,
    error_from_rpc,
    is_cut,
)
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageResult,
    PublishMessagesRequest,
    PublishMessagesResponse,
)

Item = TypeVar("Item")
RequestOf = Callable[[Any], PublishMessagesRequest]

# With the usual backoff, a server that is away is waited for about a minute.
_MAX_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of one published message."""

    number: int
    """Which message of the iterable it is: the first one is 1."""
    idempotency_key: str
    """The key that the message carried."""
    result: Message | OctohooksError
    """The message as it was stored, without its payload, or why it was refused."""


def message_or_error(result: CreateMessageResult) -> Message | OctohooksError:
    """The message, or the exception that a call for it alone would have raised."""
    return error_from_failure(result.failure) if result.HasField("failure") else result.message


class _Outbox:
    """The messages under way, from the one that is acknowledged next on. Whoever uses it holds a
    lock of the kind that suits it."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._under_way: deque[PublishMessagesRequest] = deque()
        self._sent = 0
        self._acknowledged = 0
        self.stream = 0
        self.ended = False
        self.failure: Exception | None = None

    def has_room(self) -> bool:
        return len(self._under_way) < self._window or self.ended

    def add(self, request: PublishMessagesRequest) -> None:
        self._under_way.append(request)

    def end(self, failure: Exception | None) -> None:
        """No more messages come, and perhaps why."""
        self.ended = True
        self.failure = failure

    def has_news(self, stream: int) -> bool:
        """Whether this stream need not wait: it can send, or has to end."""
        return self._sent < len(self._under_way) or self.ended or stream != self.stream

    def take(self, stream: int) -> PublishMessagesRequest | None:
        """What this stream sends next; None to end it."""
        if stream != self.stream or self._sent == len(self._under_way):
            return None
        self._sent += 1
        return self._under_way[self._sent - 1]

    def acknowledge(self, response: PublishMessagesResponse) -> Acknowledgement:
        """Takes out the message that was sent first: acknowledgements come in order."""
        self._sent -= 1
        self._acknowledged += 1
        return Acknowledgement(
            number=self._acknowledged,
            idempotency_key=self._under_way.popleft().idempotency_key,
            result=message_or_error(response.result),
        )

    def is_done(self) -> bool:
        return self.ended and not self._under_way

    def abandon(self) -> None:
        """Nobody waits for acknowledgements any more: whatever reads or sends for it ends."""
        self.ended = True
        self.restart()

    def restart(self) -> None:
        """Everything under way is to be sent again, on another stream."""
        self.stream += 1
        self._sent = 0


class _Failures:
    """Failures in a row, without an acknowledgement between them."""

    def __init__(self, reconnect: Backoff) -> None:
        self._reconnect = reconnect
        self._count = 0

    def reset(self) -> None:
        self._count = 0

    def wait_after(self, error: OctohooksError) -> float | None:
        """The seconds to wait before sending again; None when that would not help."""
        self._count += 1
        if not is_cut(error) or self._count >= _MAX_FAILURES:
            return None
        return self._reconnect.delay(self._count)


def _ended_early() -> OctohooksError:
    return Unavailable("the server ended the stream before it had acknowledged every message")


def _stream_error(rpc_error: grpc.RpcError) -> OctohooksError:
    error = error_from_rpc(rpc_error)
    # When a write fails while the stream ends, grpc.aio says this in place of the true status
    # (grpc/grpc#36066). Where it is one that another try does not help, that will tell.
    if error.message == "Internal error from Core":
        return Unavailable("the stream ended, and why was lost")
    return error


def publish(
    items: Iterable[Item],
    request_of: Callable[[Item], PublishMessagesRequest],
    begin: Callable[[Iterator[PublishMessagesRequest]], Any],
    window: int,
    reconnect: Backoff,
) -> Iterator[Acknowledgement]:
    """Sends the items and gives their acknowledgements; a thread of its own reads the items."""
    outbox = _Outbox(window)
    changed = threading.Condition()

    def read_items() -> None:
        failure: Exception | None = None
        try:
            iterator = iter(items)
            while True:
                with changed:
                    changed.wait_for(outbox.has_room)
                    if outbox.ended:
                        return
                request = request_of(next(iterator))
                with changed:
                    outbox.add(request)
                    changed.notify_all()
        except StopIteration:
            pass
        except Exception as error:
            failure = error
        with changed:
            outbox.end(failure)
            changed.notify_all()

    def requests(stream: int) -> Iterator[PublishMessagesRequest]:
        while True:
            with changed:
                changed.wait_for(lambda: outbox.has_news(stream))
                request = outbox.take(stream)
            if request is None:
                return
            yield request

    def acknowledgements() -> Iterator[Acknowledgement]:
        call = begin(requests(outbox.stream))
        try:
            for response in call:
                with changed:
                    acknowledgement = outbox.acknowledge(response)
                    changed.notify_all()
                yield acknowledgement
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()
        if not outbox.is_done():
            raise _ended_early()

    failures = _Failures(reconnect)
    threading.Thread(target=read_items, name="octohooks-publish", daemon=True).start()
    try:
        while not outbox.is_done():
            try:
                for acknowledgement in acknowledgements():
                    failures.reset()
                    yield acknowledgement
            except OctohooksError as error:
                wait = failures.wait_after(error)
                if wait is None:
                    raise
                time.sleep(wait)
                with changed:
                    outbox.restart()
                    changed.notify_all()
        if outbox.failure is not None:
            raise outbox.failure
    finally:
        with changed:
            outbox.abandon()
            changed.notify_all()


async def publish_async(
    items: Iterable[Item] | AsyncIterable[Item],
    request_of: Callable[[Item], PublishMessagesRequest],
    begin: Callable[[AsyncIterator[PublishMessagesRequest]], Any],
    window: int,
    reconnect: Backoff,
) -> AsyncIterator[Acknowledgement]:
    """Sends the items and gives their acknowledgements; a task of its own reads the items."""
    outbox = _Outbox(window)
    changed = asyncio.Condition()

    async def read_items() -> None:
        failure: Exception | None = None
        source = _each(items)
        try:
            while True:
                async with changed:
                    await changed.wait_for(outbox.has_room)
                request = request_of(await anext(source))
                async with changed:
                    outbox.add(request)
                    changed.notify_all()
        except StopAsyncIteration:
            pass
        except Exception as error:
            failure = error
        async with changed:
            outbox.end(failure)
            changed.notify_all()

    async def requests(stream: int) -> AsyncIterator[PublishMessagesRequest]:
        while True:
            async with changed:
                await changed.wait_for(lambda: outbox.has_news(stream))
                request = outbox.take(stream)
            if request is None:
                return
            yield request

    async def acknowledgements() -> AsyncGenerator[Acknowledgement]:
        call = begin(requests(outbox.stream))
        try:
            async for response in call:
                async with changed:
                    acknowledgement = outbox.acknowledge(response)
                    changed.notify_all()
                yield acknowledgement
        except grpc.RpcError as error:
            raise _stream_error(error) from error
        except asyncio.CancelledError:
            if task_is_cancelled():
                raise
            raise Cancelled("the client was closed") from None
        finally:
            call.cancel()
        if not outbox.is_done():
            raise _ended_early()

    failures = _Failures(reconnect)
    reader = asyncio.create_task(read_items(), name="octohooks-publish")
    try:
        while not outbox.is_done():
            try:
                async with contextlib.aclosing(acknowledgements()) as stream:
                    async for acknowledgement in stream:
                        failures.reset()
                        yield acknowledgement
            except OctohooksError as error:
                wait = failures.wait_after(error)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
                async with changed:
                    outbox.restart()
                    changed.notify_all()
        if outbox.failure is not None:
            raise outbox.failure
    finally:
        reader.cancel()
        async with changed:
            outbox.abandon()
            changed.notify_all()


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
