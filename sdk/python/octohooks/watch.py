"""A watch: the live stream of what happens to deliveries, which resumes by itself."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, cast

import grpc
import grpc.aio

from octohooks.backoff import Backoff
from octohooks.cancellation import task_is_cancelled
from octohooks.errors import Cancelled, OctohooksError, Unavailable, error_from_rpc, is_cut
from octohooks.v1.attempt_service_pb2 import (
    AttemptEvent,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)


class _Position:
    """Where a watch stands, what is at hand, and what follows from a cut."""

    def __init__(self, request: WatchAttemptsRequest, reconnect: Backoff) -> None:
        self._request = request
        self._reconnect = reconnect
        self._events: deque[AttemptEvent] = deque()
        self._token_after_events = request.resume_token
        self._failures = 0
        self.live = False
        self.resume_token = request.resume_token

    def next_request(self) -> WatchAttemptsRequest:
        request = WatchAttemptsRequest()
        request.CopyFrom(self._request)
        if self.live:
            # An empty token says that the server cannot resume yet; what is left is to go on from
            # now, as the first start may lie far back.
            request.ClearField("start")
            if self._token_after_events:
                request.resume_token = self._token_after_events
        return request

    def receive(self, response: WatchAttemptsResponse) -> None:
        self.live = True
        self._failures = 0
        self._events.extend(response.events)
        self._token_after_events = response.resume_token
        if not self._events:
            self.resume_token = response.resume_token

    def next_event(self) -> AttemptEvent | None:
        if not self._events:
            return None
        event = self._events.popleft()
        if not self._events:
            self.resume_token = self._token_after_events
        return event

    def wait_after(self, error: OctohooksError) -> float | None:
        """The seconds to wait before connecting again; None when that would not help."""
        if not self.live or not is_cut(error):
            return None
        self._failures += 1
        return self._reconnect.delay(self._failures)


def _ended() -> OctohooksError:
    return Unavailable("the server ended the watch")


def _closed() -> OctohooksError:
    return Cancelled("the watch is closed")


class Watch(Iterator[AttemptEvent]):
    """Events as they happen. It connects when the first one is asked for.

    After a cut it connects again, as often as it takes, and goes on after the last event that it
    received, so none is missed or repeated. Other errors come out of the iteration and end it, and
    so does a server that cannot be reached to begin with.

    It ends when it is closed: by leaving its `with` block, by `close`, or with its client.
    """

    def __init__(
        self,
        request: WatchAttemptsRequest,
        begin: Callable[[WatchAttemptsRequest], Iterator[WatchAttemptsResponse]],
        reconnect: Backoff,
    ) -> None:
        self._position = _Position(request, reconnect)
        self._begin = begin
        self._call: Any = None
        self._closed = threading.Event()

    @property
    def resume_token(self) -> str:
        """Goes on, in a later watch, after the events that this one has given so far. Several can
        come in one response; in the middle of one the token is the one before it, so that a later
        watch repeats some rather than missing any. Store it after handling the event. Empty until
        there is one, and always with a server that cannot resume."""
        return self._position.resume_token

    def wait_until_live(self) -> None:
        """Returns once the server has said that it watches: nothing that happens after this is
        missed.

        Raises:
            OctohooksError: it refused.
            Cancelled: the watch was closed.
        """
        while not self._position.live:
            if not self._receive():
                raise _closed()

    def __next__(self) -> AttemptEvent:
        while True:
            event = self._position.next_event()
            if event is not None:
                return event
            if not self._receive():
                raise StopIteration

    def close(self) -> None:
        """Ends the watch, from any thread. An iteration that waits for the next event ends too."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _receive(self) -> bool:
        """Takes in the next response, over a new connection when the old one was cut; False once
        the watch is closed."""
        while not self._closed.is_set():
            try:
                self._position.receive(self._next_response())
                return True
            except OctohooksError as error:
                self._call = None
                if self._closed.is_set():
                    break
                wait = self._position.wait_after(error)
                if wait is None:
                    self._closed.set()
                    raise
            self._closed.wait(wait)
        return False

    def _next_response(self) -> WatchAttemptsResponse:
        try:
            if self._call is None:
                self._call = self._begin(self._position.next_request())
                if self._closed.is_set():
                    self._call.cancel()
            response: WatchAttemptsResponse = next(self._call)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        except StopIteration:
            raise _ended() from None
        return response


class AsyncWatch(AsyncIterator[AttemptEvent]):
    """Events as they happen. It connects when the first one is asked for.

    After a cut it connects again, as often as it takes, and goes on after the last event that it
    received, so none is missed or repeated. Other errors come out of the iteration and end it, and
    so does a server that cannot be reached to begin with.

    It ends when it is closed: by leaving its `async with` block, by `close`, or with its client.
    Cancelling an iteration, as a timeout does, gives up the connection; a later iteration goes on
    where it was.
    """

    def __init__(
        self,
        request: WatchAttemptsRequest,
        begin: Callable[
            [WatchAttemptsRequest],
            grpc.aio.UnaryStreamCall[WatchAttemptsRequest, WatchAttemptsResponse],
        ],
        reconnect: Backoff,
    ) -> None:
        self._position = _Position(request, reconnect)
        self._begin = begin
        self._call: grpc.aio.UnaryStreamCall[WatchAttemptsRequest, WatchAttemptsResponse] | None = (
            None
        )
        self._closed = asyncio.Event()

    @property
    def resume_token(self) -> str:
        """Goes on, in a later watch, after the events that this one has given so far. Several can
        come in one response; in the middle of one the token is the one before it, so that a later
        watch repeats some rather than missing any. Store it after handling the event. Empty until
        there is one, and always with a server that cannot resume."""
        return self._position.resume_token

    async def wait_until_live(self) -> None:
        """Returns once the server has said that it watches: nothing that happens after this is
        missed.

        Raises:
            OctohooksError: it refused.
            Cancelled: the watch was closed.
        """
        while not self._position.live:
            if not await self._receive():
                raise _closed()

    async def __anext__(self) -> AttemptEvent:
        while True:
            event = self._position.next_event()
            if event is not None:
                return event
            if not await self._receive():
                raise StopAsyncIteration

    async def close(self) -> None:
        """Ends the watch, from any task. An iteration that waits for the next event ends too."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __del__(self) -> None:
        # The loop holds the call, which would go on although nobody reads it any more.
        if self._call is not None:
            self._call.cancel()

    async def _receive(self) -> bool:
        """Takes in the next response, over a new connection when the old one was cut; False once
        the watch is closed."""
        while not self._closed.is_set():
            try:
                self._position.receive(await self._next_response())
                return True
            except OctohooksError as error:
                self._call = None
                if self._closed.is_set():
                    break
                wait = self._position.wait_after(error)
                if wait is None:
                    self._closed.set()
                    raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), wait)
        return False

    async def _next_response(self) -> WatchAttemptsResponse:
        if self._call is None:
            self._call = self._begin(self._position.next_request())
        try:
            response = await self._call.read()
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        except asyncio.CancelledError:
            self._call.cancel()
            self._call = None
            if task_is_cancelled():
                raise
            raise _closed() from None
        if response is grpc.aio.EOF:
            raise _ended()
        return cast(WatchAttemptsResponse, response)
