"""What carries calls out: one that blocks and one for asyncio."""

import asyncio
import copy
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Self, TypeVar
from weakref import WeakSet

import grpc
import grpc.aio
from google.protobuf.message import Message

from octohooks.backoff import Backoff
from octohooks.calls import Call, Listing, path_of
from octohooks.cancellation import task_is_cancelled
from octohooks.channel import Connection
from octohooks.errors import Cancelled, error_from_rpc
from octohooks.outbox import Acknowledgement
from octohooks.patience import Patience
from octohooks.publish import publish, publish_async
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest, WatchAttemptsResponse
from octohooks.v1.message_service_pb2 import PublishMessagesRequest, PublishMessagesResponse
from octohooks.watch import AsyncWatch, Watch

T = TypeVar("T")
Item = TypeVar("Item")

Metadata = tuple[tuple[str, str], ...]


def _metadata(connection: Connection, call: Call[Any]) -> Metadata:
    if call.idempotency_key is None:
        return connection.metadata
    return (*connection.metadata, ("idempotency-key", call.idempotency_key))


class Transport:
    """Carries calls out and blocks until each is answered. Threads may share it."""

    def __init__(self, connection: Connection, timeout: float | None, reconnect: Backoff) -> None:
        self._connection = connection
        self._timeout = timeout
        self._reconnect = reconnect
        self._channel = connection.open()
        self._rpcs: dict[type[Message], grpc.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._watches: WeakSet[Watch] = WeakSet()

    def with_timeout(self, timeout: float | None) -> Self:
        """The same connection with another time limit for each call, in seconds."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    def call(self, call: Call[T]) -> T:
        request_type = type(call.request)
        rpc = self._rpcs.get(request_type)
        if rpc is None:
            rpc = self._rpcs[request_type] = self._channel.unary_unary(
                path_of(request_type),
                request_serializer=request_type.SerializeToString,
                response_deserializer=call.response_type.FromString,
            )
        metadata = _metadata(self._connection, call)
        patience = Patience(self._timeout, self._reconnect)
        while True:
            try:
                return call.read(rpc(call.request, timeout=patience.left(), metadata=metadata))
            except grpc.RpcError as error:
                refusal = error_from_rpc(error)
                pause = patience.pause_after(refusal)
                if pause is None:
                    raise refusal from error
            time.sleep(pause)

    def list(self, listing: Listing[T]) -> Iterator[T]:
        page_token = None
        while page_token != "":
            page = self.call(listing.page(page_token or ""))
            yield from page.items
            page_token = page.next_page_token

    def watch(self, request: WatchAttemptsRequest) -> Watch:
        rpc = self._channel.unary_stream(
            path_of(WatchAttemptsRequest),
            request_serializer=WatchAttemptsRequest.SerializeToString,
            response_deserializer=WatchAttemptsResponse.FromString,
        )
        watch = Watch(
            request,
            lambda request: rpc(request, metadata=self._connection.metadata),
            self._reconnect,
        )
        self._watches.add(watch)
        return watch

    def publish(
        self,
        items: Iterable[Item],
        request_of: Callable[[Item], PublishMessagesRequest],
        window: int,
    ) -> Iterator[Acknowledgement]:
        rpc = self._channel.stream_stream(
            path_of(PublishMessagesRequest),
            request_serializer=PublishMessagesRequest.SerializeToString,
            response_deserializer=PublishMessagesResponse.FromString,
        )
        return publish(
            items,
            request_of,
            lambda requests: rpc(requests, metadata=self._connection.metadata),
            window,
            self._reconnect,
        )

    def close(self) -> None:
        for watch in [*self._watches]:
            watch.close()
        self._channel.close()


class AsyncTransport:
    """Carries calls out on the event loop in which the first of them is made."""

    def __init__(self, connection: Connection, timeout: float | None, reconnect: Backoff) -> None:
        self._connection = connection
        self._timeout = timeout
        self._reconnect = reconnect
        self._channel = _AsyncChannel(connection)
        self._rpcs: dict[type[Message], grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._watches: WeakSet[AsyncWatch] = WeakSet()

    def with_timeout(self, timeout: float | None) -> Self:
        """The same connection with another time limit for each call, in seconds."""
        other = copy.copy(self)
        other._timeout = timeout
        return other

    async def call(self, call: Call[T]) -> T:
        request_type = type(call.request)
        rpc = self._rpcs.get(request_type)
        if rpc is None:
            rpc = self._rpcs[request_type] = self._channel.get().unary_unary(
                path_of(request_type),
                request_serializer=request_type.SerializeToString,
                response_deserializer=call.response_type.FromString,
            )
        metadata = _metadata(self._connection, call)
        patience = Patience(self._timeout, self._reconnect)
        while True:
            try:
                response = await rpc(call.request, timeout=patience.left(), metadata=metadata)
            except grpc.RpcError as error:
                refusal = error_from_rpc(error)
                pause = patience.pause_after(refusal)
                if pause is None:
                    raise refusal from error
            except asyncio.CancelledError:
                if task_is_cancelled():
                    raise
                raise Cancelled("the client was closed") from None
            else:
                return call.read(response)
            await asyncio.sleep(pause)

    async def list(self, listing: Listing[T]) -> AsyncIterator[T]:
        page_token = None
        while page_token != "":
            page = await self.call(listing.page(page_token or ""))
            for item in page.items:
                yield item
            page_token = page.next_page_token

    def watch(self, request: WatchAttemptsRequest) -> AsyncWatch:
        def begin(
            request: WatchAttemptsRequest,
        ) -> grpc.aio.UnaryStreamCall[WatchAttemptsRequest, WatchAttemptsResponse]:
            rpc: grpc.aio.UnaryStreamMultiCallable[WatchAttemptsRequest, WatchAttemptsResponse]
            rpc = self._channel.get().unary_stream(
                path_of(WatchAttemptsRequest),
                request_serializer=WatchAttemptsRequest.SerializeToString,
                response_deserializer=WatchAttemptsResponse.FromString,
            )
            return rpc(request, metadata=self._connection.metadata)

        watch = AsyncWatch(request, begin, self._reconnect)
        self._watches.add(watch)
        return watch

    def publish(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        request_of: Callable[[Item], PublishMessagesRequest],
        window: int,
    ) -> AsyncIterator[Acknowledgement]:
        def begin(
            requests: AsyncIterator[PublishMessagesRequest],
        ) -> grpc.aio.StreamStreamCall[PublishMessagesRequest, PublishMessagesResponse]:
            rpc: grpc.aio.StreamStreamMultiCallable[PublishMessagesRequest, PublishMessagesResponse]
            rpc = self._channel.get().stream_stream(
                path_of(PublishMessagesRequest),
                request_serializer=PublishMessagesRequest.SerializeToString,
                response_deserializer=PublishMessagesResponse.FromString,
            )
            return rpc(requests, metadata=self._connection.metadata)

        return publish_async(items, request_of, begin, window, self._reconnect)

    async def close(self) -> None:
        for watch in [*self._watches]:
            await watch.close()
        await self._channel.close()


class _AsyncChannel:
    """A channel that opens when it is first needed, since only then the loop that it belongs to is
    sure to run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: grpc.aio.Channel | None = None

    def get(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = self._connection.open_async()
        return self._channel

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
