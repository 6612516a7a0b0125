"""Publishing: many messages over one stream, a bounded number of them under way."""

import asyncio
import contextlib
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from typing import Any, TypeVar

import grpc
import grpc.aio

from octohooks.backoff import Backoff
from octohooks.cancellation import task_is_cancelled
from octohooks.errors import Cancelled, OctohooksError, Unavailable, error_from_rpc
from octohooks.outbox import Acknowledgement, Failures, Outbox
from octohooks.v1.message_service_pb2 import PublishMessagesRequest

Item = TypeVar("Item")


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
    outbox = Outbox(window)
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

    failures = Failures(reconnect)
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
    outbox = Outbox(window)
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

    failures = Failures(reconnect)
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
