"""Watches: what they give, how they go on after a cut, and how they end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from octohooks import (
    AsyncOctohooks,
    Backoff,
    Cancelled,
    Internal,
    Octohooks,
    OctohooksError,
    OutOfRange,
    Unauthenticated,
    Unavailable,
)
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.attempt_service_pb2 import (
    ATTEMPT_EVENT_KIND_FAILED,
    AttemptEvent,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)

from tests.sdk.conftest import Connect
from tests.sdk.fake_server import (
    FakeServer,
    leave_waiting_at_a_stop,
    refuse,
    until_cancelled,
)

Stream = Callable[[grpc.ServicerContext], Iterator[WatchAttemptsResponse]]


def event(attempt: str) -> AttemptEvent:
    return AttemptEvent(attempt=Attempt(id=attempt))


def events(*attempts: str, token: str = "") -> WatchAttemptsResponse:
    return WatchAttemptsResponse(events=[event(a) for a in attempts], resume_token=token)


def bookmark(token: str = "") -> WatchAttemptsResponse:
    return WatchAttemptsResponse(resume_token=token)


def script(server: FakeServer, *streams: Stream) -> None:
    """Answers the first watch with the first stream, the second with the second, and so on."""
    left = list(streams)

    def watch(_: Any, context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        return left.pop(0)(context)

    server.on("WatchAttempts", watch)


def then(*steps: WatchAttemptsResponse | Callable[[grpc.ServicerContext], object]) -> Stream:
    """A stream that sends responses, and does what else is in between."""

    def stream(context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        for step in steps:
            if isinstance(step, WatchAttemptsResponse):
                yield step
            else:
                step(context)

    return stream


def cut(context: grpc.ServicerContext) -> None:
    refuse(context, grpc.StatusCode.UNAVAILABLE, "shutting down")


def reset_by_a_proxy(context: grpc.ServicerContext) -> None:
    refuse(context, grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


def left_waiting_at_a_stop(context: grpc.ServicerContext) -> None:
    leave_waiting_at_a_stop(context)


def hang_up(context: grpc.ServicerContext) -> None:
    """Nothing: the stream ends with OK."""


def stay(context: grpc.ServicerContext) -> None:
    until_cancelled(context).wait()


def ids(watched: list[AttemptEvent]) -> list[str]:
    return [event.attempt.id for event in watched]


def first(count: int, watch: Iterator[AttemptEvent]) -> list[str]:
    """The attempts of the next events of a watch."""
    return ids([next(watch) for _ in range(count)])


def test_a_watch_gives_the_events_of_each_response_in_their_order(
    client: Octohooks, server: FakeServer
) -> None:
    script(server, then(bookmark(), events("1", "2"), bookmark(), events("3"), stay))
    assert first(3, client.attempt.watch()) == ["1", "2", "3"]


def test_a_watch_is_live_once_the_server_has_said_so(client: Octohooks, server: FakeServer) -> None:
    said = threading.Event()
    happened = threading.Event()

    def say(_: grpc.ServicerContext) -> None:
        said.set()

    def wait_until_it_happens(_: grpc.ServicerContext) -> None:
        happened.wait()

    script(server, then(say, bookmark(), wait_until_it_happens, events("1"), stay))
    watch = client.attempt.watch()
    assert not server.received
    watch.wait_until_live()
    assert said.is_set()
    watch.wait_until_live()
    happened.set()
    assert first(1, watch) == ["1"]
    assert len(server.received) == 1


def test_events_that_come_with_the_first_response_are_not_lost_by_waiting(
    client: Octohooks, server: FakeServer
) -> None:
    script(server, then(events("1", "2"), stay))
    watch = client.attempt.watch(since=datetime.now(UTC))
    watch.wait_until_live()
    assert first(2, watch) == ["1", "2"]


@pytest.mark.parametrize("how", [cut, reset_by_a_proxy, left_waiting_at_a_stop, hang_up])
def test_after_a_cut_a_watch_goes_on_after_the_last_response(
    how: Callable[[grpc.ServicerContext], object], client: Octohooks, server: FakeServer
) -> None:
    script(
        server,
        then(bookmark("a"), events("1", "2", token="b"), how),
        then(bookmark("b"), how),
        then(bookmark("c"), how),
        then(bookmark("c"), events("3", token="d"), stay),
    )
    assert first(3, client.attempt.watch(application="some-user", kinds=["failed"])) == [
        "1",
        "2",
        "3",
    ]
    begun = WatchAttemptsRequest(application="some-user", kinds=[ATTEMPT_EVENT_KIND_FAILED])
    resumed = [
        WatchAttemptsRequest(
            application="some-user", kinds=[ATTEMPT_EVENT_KIND_FAILED], resume_token=token
        )
        for token in ("b", "b", "c")
    ]
    assert server.requests("WatchAttempts") == [begun, *resumed]


def test_after_a_cut_in_the_middle_of_a_response_no_event_is_missed_or_repeated(
    client: Octohooks, server: FakeServer
) -> None:
    script(
        server,
        then(bookmark("a"), events("1", "2", "3", token="b"), cut),
        then(bookmark("b"), events("4", token="c"), stay),
    )
    watch = client.attempt.watch()
    assert first(1, watch) == ["1"]
    assert first(3, watch) == ["2", "3", "4"]


def test_a_watch_that_began_in_the_past_does_not_begin_there_again(
    client: Octohooks, server: FakeServer
) -> None:
    script(
        server,
        then(events("1", token="a"), cut),
        then(bookmark("a"), events("2", token="b"), stay),
    )
    assert first(2, client.attempt.watch(since=datetime.now(UTC))) == ["1", "2"]
    assert server.requests("WatchAttempts")[1] == WatchAttemptsRequest(resume_token="a")


def test_without_tokens_a_watch_goes_on_from_now(client: Octohooks, server: FakeServer) -> None:
    script(server, then(events("1"), cut), then(bookmark(), events("2"), stay))
    watch = client.attempt.watch(since=datetime.now(UTC))
    assert first(2, watch) == ["1", "2"]
    assert server.requests("WatchAttempts")[1] == WatchAttemptsRequest()
    assert watch.resume_token == ""


def test_a_cut_before_the_first_response_begins_where_the_caller_said(
    client: Octohooks, server: FakeServer
) -> None:
    script(server, then(cut), then(cut), then(events("1"), stay))
    assert first(1, client.attempt.watch(resume_token="a")) == ["1"]
    assert server.requests("WatchAttempts") == [WatchAttemptsRequest(resume_token="a")] * 3


def test_the_resume_token_stands_after_the_events_that_were_given(
    client: Octohooks, server: FakeServer
) -> None:
    script(
        server,
        then(
            bookmark("a"),
            events("1", "2", token="b"),
            bookmark("c"),
            events("3", token="d"),
            stay,
        ),
    )
    watch = client.attempt.watch()
    assert watch.resume_token == ""
    watch.wait_until_live()
    assert watch.resume_token == "a"
    next(watch)
    # In the middle of a response only the token before it misses nothing.
    assert watch.resume_token == "a"
    next(watch)
    assert watch.resume_token == "b"
    next(watch)
    assert watch.resume_token == "d"


def test_a_watch_that_has_given_nothing_yet_stands_where_it_began(client: Octohooks) -> None:
    assert client.attempt.watch(resume_token="a").resume_token == "a"


def test_a_revoked_key_ends_a_watch(client: Octohooks, server: FakeServer) -> None:
    def revoke(context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.UNAUTHENTICATED, "revoked")

    script(server, then(bookmark("a"), events("1", token="b"), revoke))
    watch = client.attempt.watch()
    assert first(1, watch) == ["1"]
    with pytest.raises(Unauthenticated, match="revoked"):
        next(watch)
    assert list(watch) == []
    assert len(server.received) == 1


def test_an_internal_error_of_the_server_ends_a_watch(
    client: Octohooks, server: FakeServer
) -> None:
    def fail(context: grpc.ServicerContext) -> None:
        reason = ErrorInfo(reason="INTERNAL", metadata={"correlation_id": "RST_STREAM"})
        refuse(context, grpc.StatusCode.INTERNAL, "a defect, RST_STREAM", reason)

    script(server, then(bookmark("a"), fail))
    with pytest.raises(Internal):
        next(client.attempt.watch())
    assert len(server.received) == 1


def test_a_token_that_is_too_old_ends_a_watch_with_the_oldest_one(
    client: Octohooks, server: FakeServer
) -> None:
    def too_old(context: grpc.ServicerContext) -> None:
        reason = ErrorInfo(reason="WATCH_HISTORY_GONE", metadata={"oldest_resume_token": "z"})
        refuse(context, grpc.StatusCode.OUT_OF_RANGE, "too old", reason)

    script(server, then(too_old))
    with pytest.raises(OutOfRange) as refused:
        client.attempt.watch(resume_token="a").wait_until_live()
    assert refused.value.metadata["oldest_resume_token"] == "z"


def test_a_server_that_is_not_there_to_begin_with_is_unavailable(
    connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nobody = tmp_path_factory.mktemp("nobody") / "s"
    with pytest.raises(Unavailable):
        next(connect(target=f"unix:{nobody}").attempt.watch())


def test_a_watch_goes_on_with_the_next_server_at_the_same_address(
    connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = f"unix:{tmp_path_factory.mktemp('server') / 's'}"
    with FakeServer(address) as before:
        script(before, then(bookmark("a"), events("1", token="b"), stay))
        watch = connect(target=address).attempt.watch()
        assert first(1, watch) == ["1"]
    with FakeServer(address) as after:
        script(after, then(bookmark("b"), events("2", token="c"), stay))
        assert first(1, watch) == ["2"]
        assert after.requests("WatchAttempts") == [WatchAttemptsRequest(resume_token="b")]


def test_since_and_a_resume_token_exclude_each_other(client: Octohooks) -> None:
    with pytest.raises(ValueError, match="exclude"):
        client.attempt.watch(since=datetime.now(UTC), resume_token="a")


class Watched:
    """Reads a watch in a thread, as far as it goes."""

    def __init__(self, watch: Iterator[AttemptEvent]) -> None:
        self.events: list[AttemptEvent] = []
        self.has_some = threading.Event()
        self._error: Exception | None = None
        self._watch = watch
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def until_it_ends(self) -> list[AttemptEvent]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self.events

    def _read(self) -> None:
        try:
            for event in self._watch:
                self.events.append(event)
                self.has_some.set()
        except Exception as error:
            self._error = error


class Endless:
    """A stream that sends responses and never ends; says when the caller is gone."""

    def __init__(self, *responses: WatchAttemptsResponse) -> None:
        self.left = threading.Event()
        self._responses = responses

    def __call__(self, context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        if not context.add_callback(self.left.set):
            self.left.set()
        yield from self._responses
        self.left.wait()


def test_closing_a_watch_ends_it_while_it_waits(client: Octohooks, server: FakeServer) -> None:
    endless = Endless(bookmark("a"), events("1", token="b"))
    script(server, endless)
    watch = client.attempt.watch()
    watched = Watched(watch)
    watched.has_some.wait()
    watch.close()
    assert ids(watched.until_it_ends()) == ["1"]
    endless.left.wait()
    with pytest.raises(StopIteration):
        next(watch)
    assert len(server.received) == 1


def test_closing_a_watch_ends_it_between_two_connections(
    connect: Connect, server: FakeServer
) -> None:
    waiting = threading.Event()

    def say_that_it_waits() -> float:
        waiting.set()
        return 0.0

    long = Backoff(initial=timedelta(hours=1), random=say_that_it_waits)
    script(server, then(bookmark("a"), cut))
    watch = connect(reconnect=long).attempt.watch()
    watched = Watched(watch)
    waiting.wait()
    watch.close()
    assert watched.until_it_ends() == []


def test_closing_the_client_ends_its_watches(client: Octohooks, server: FakeServer) -> None:
    endless = Endless(bookmark("a"), events("1", token="b"))
    script(server, endless)
    watched = Watched(client.attempt.watch())
    watched.has_some.wait()
    client.close()
    assert ids(watched.until_it_ends()) == ["1"]


def test_leaving_the_block_of_a_watch_ends_it(client: Octohooks, server: FakeServer) -> None:
    endless = Endless(bookmark(), events("1"))
    script(server, endless)
    with client.attempt.watch() as watch:
        for _ in watch:
            break
    endless.left.wait()


def test_a_watch_that_nobody_holds_any_more_ends(client: Octohooks, server: FakeServer) -> None:
    endless = Endless(bookmark(), events("1"))
    script(server, endless)
    for _ in client.attempt.watch():
        break
    endless.left.wait()


def test_waiting_for_a_closed_watch_is_cancelled(client: Octohooks) -> None:
    watch = client.attempt.watch()
    watch.close()
    with pytest.raises(Cancelled):
        watch.wait_until_live()


def test_the_wait_before_connecting_again_doubles_up_to_its_maximum() -> None:
    longest = Backoff(
        initial=timedelta(seconds=1), maximum=timedelta(seconds=30), random=lambda: 0.0
    )
    assert [longest.delay(failures) for failures in (1, 2, 3, 5, 6, 1000)] == [1, 2, 4, 16, 30, 30]
    shortest = Backoff(
        initial=timedelta(seconds=1), maximum=timedelta(seconds=30), random=lambda: 1.0
    )
    assert [shortest.delay(failures) for failures in (1, 6)] == [0.5, 15]


def test_a_response_starts_the_waits_from_the_beginning(
    connect: Connect, server: FakeServer
) -> None:
    delays: list[int] = []

    class Recorded(Backoff):
        def delay(self, failures: int) -> float:
            delays.append(failures)
            return 0.0

    no_retry: Any = (("grpc.enable_retries", 0),)
    script(
        server,
        then(bookmark("a"), cut),
        then(cut),
        then(cut),
        then(bookmark("a"), cut),
        then(events("1", token="b"), stay),
    )
    watch = connect(reconnect=Recorded(), channel_options=no_retry).attempt.watch()
    assert first(1, watch) == ["1"]
    assert delays == [1, 2, 3, 1]


def test_errors_of_a_watch_are_errors_of_octohooks(client: Octohooks, server: FakeServer) -> None:
    def deny(context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.PERMISSION_DENIED, "no")

    script(server, then(deny))
    with pytest.raises(OctohooksError):
        next(client.attempt.watch())


async def test_a_cancelled_iteration_gives_up_the_connection_and_a_later_one_goes_on(
    server: FakeServer,
) -> None:
    endless = Endless(bookmark("a"), events("1", token="b"))
    script(server, endless, then(bookmark("b"), events("2", token="c"), stay))
    async with AsyncOctohooks("key", target=server.target) as client:
        watch = client.attempt.watch()
        assert (await anext(watch)).attempt.id == "1"
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(endless.left.wait)
        assert (await anext(watch)).attempt.id == "2"
    assert server.requests("WatchAttempts")[1] == WatchAttemptsRequest(resume_token="b")


async def test_two_watches_of_one_asyncio_client_go_on_side_by_side(server: FakeServer) -> None:
    script(
        server,
        then(bookmark(), events("1"), stay),
        then(bookmark(), events("2"), stay),
    )
    async with (
        AsyncOctohooks("key", target=server.target) as client,
        client.attempt.watch() as one,
        client.attempt.watch() as two,
    ):
        await one.wait_until_live()
        await two.wait_until_live()
        assert (await anext(one)).attempt.id == "1"
        assert (await anext(two)).attempt.id == "2"
