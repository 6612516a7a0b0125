import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from octohooks.v1 import attempt_pb2, attempt_service_pb2, delivery_pb2
from octohooks.v1.attempt_service_pb2 import (
    ATTEMPT_EVENT_KIND_CANCELLED,
    ATTEMPT_EVENT_KIND_FAILED,
    ATTEMPT_EVENT_KIND_SUCCEEDED,
    AttemptEvent,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)

from tests.cli.conftest import Run, Start
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer, refuse, until_cancelled

TODAY = datetime.now(UTC)
FAILED = AttemptEvent(
    attempt=made(
        attempt_pb2.Attempt,
        id="atmpt_1",
        message="msg_1",
        endpoint="ep_1",
        event_type="invoice.paid",
        number=1,
        url="http://127.0.0.1:8000/",
        start_time=TODAY,
        duration=timedelta(milliseconds=12),
        outcome=attempt_pb2.ATTEMPT_OUTCOME_FAILED,
        response_status=503,
        error_kind=attempt_pb2.ERROR_KIND_HTTP_STATUS,
        delivery_status=delivery_pb2.DELIVERY_STATUS_PENDING,
        next_attempt_time=TODAY + timedelta(seconds=5),
    )
)
TIMED_OUT = AttemptEvent(
    attempt=made(
        attempt_pb2.Attempt,
        message="msg_1",
        event_type="invoice.paid",
        number=8,
        url="http://127.0.0.1:8000/",
        start_time=TODAY,
        duration=timedelta(seconds=15),
        outcome=attempt_pb2.ATTEMPT_OUTCOME_FAILED,
        error_kind=attempt_pb2.ERROR_KIND_TIMEOUT,
        delivery_status=delivery_pb2.DELIVERY_STATUS_FAILED,
    )
)
SUCCEEDED = AttemptEvent(
    attempt=made(
        attempt_pb2.Attempt,
        message="msg_1",
        event_type="invoice.paid",
        number=2,
        url="http://127.0.0.1:8000/",
        start_time=TODAY,
        duration=timedelta(milliseconds=8),
        outcome=attempt_pb2.ATTEMPT_OUTCOME_SUCCEEDED,
        response_status=200,
        delivery_status=delivery_pb2.DELIVERY_STATUS_SUCCEEDED,
    )
)
CANCELLED = AttemptEvent(
    cancelled_delivery=made(
        delivery_pb2.Delivery,
        message="msg_1",
        endpoint="ep_1",
        event_type="invoice.paid",
        status=delivery_pb2.DELIVERY_STATUS_CANCELLED,
        cancel_reason=delivery_pb2.CANCEL_REASON_ENDPOINT_DELETED,
        end_time=TODAY,
    )
)


def local(time: datetime) -> str:
    return f"{time.astimezone():%H:%M:%S}"


def show_and_refuse(server: FakeServer, *events: AttemptEvent) -> None:
    """The watch shows the events and ends with an error after which the client does not resume."""

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        yield WatchAttemptsResponse()
        yield WatchAttemptsResponse(events=events)
        refuse(
            context,
            grpc.StatusCode.UNAUTHENTICATED,
            "the key was revoked",
            ErrorInfo(reason="INVALID_API_KEY"),
        )

    server.on("WatchAttempts", watch)


def show_and_stay(server: FakeServer, *events: AttemptEvent) -> None:
    """The watch shows the events and stays open."""

    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        ended = until_cancelled(context)
        yield WatchAttemptsResponse()
        yield WatchAttemptsResponse(events=events)
        ended.wait()

    server.on("WatchAttempts", watch)


def test_each_event_is_a_line_that_says_what_happened_and_what_comes_next(
    run: Run, server: FakeServer
) -> None:
    show_and_refuse(server, FAILED, SUCCEEDED, TIMED_OUT, CANCELLED)
    result = run("watch")
    now, later = local(TODAY), local(TODAY + timedelta(seconds=5))
    url = "http://127.0.0.1:8000/"
    assert result.stdout.splitlines() == [
        f"{now}  failed     attempt 1  503 in 12ms  invoice.paid  msg_1  {url}  next at {later}",
        f"{now}  succeeded  attempt 2  200 in 8ms  invoice.paid  msg_1  {url}",
        f"{now}  failed     attempt 8  timeout in 15s  invoice.paid  msg_1  {url}"
        "  no attempts left",
        f"{now}  cancelled  endpoint_deleted  invoice.paid  msg_1  ep_1",
    ]


def test_a_watch_that_the_server_ends_for_good_fails(run: Run, server: FakeServer) -> None:
    show_and_refuse(server)
    result = run("watch")
    assert result.exit_code == 1
    watching, error = result.stderr.splitlines()
    assert server.target in watching
    assert error == "Error: the key was revoked"


def test_json_is_a_line_for_each_event_and_nothing_else(run: Run, server: FakeServer) -> None:
    show_and_refuse(server, SUCCEEDED, CANCELLED)
    result = run("watch", "--json")
    attempt, cancelled = [json.loads(line) for line in result.stdout.splitlines()]
    assert attempt["attempt"]["outcome"] == "ATTEMPT_OUTCOME_SUCCEEDED"
    assert cancelled["cancelled_delivery"]["cancel_reason"] == "CANCEL_REASON_ENDPOINT_DELETED"
    assert result.stderr == "Error: the key was revoked\n"


def test_options_narrow_what_is_watched(run: Run, server: FakeServer) -> None:
    show_and_refuse(server)
    run(
        "watch",
        *("--application", "some-user", "--endpoint", "ep", "--message", "m"),
        *("--event-type", "a", "--event-type", "b"),
        *("--failed", "--cancelled", "--since", "2026-01-01T00:00Z"),
    )
    assert server.requests("WatchAttempts") == [
        made(
            WatchAttemptsRequest,
            application="some-user",
            endpoint="ep",
            message="m",
            event_types=["a", "b"],
            kinds=[ATTEMPT_EVENT_KIND_FAILED, ATTEMPT_EVENT_KIND_CANCELLED],
            since=datetime(2026, 1, 1, tzinfo=UTC),
        )
    ]


def test_each_line_of_json_holds_the_token_to_go_on_behind_it(run: Run, server: FakeServer) -> None:
    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[WatchAttemptsResponse]:
        yield WatchAttemptsResponse(resume_token="a")
        yield WatchAttemptsResponse(events=[FAILED, SUCCEEDED], resume_token="b")
        yield WatchAttemptsResponse(events=[CANCELLED], resume_token="c")
        refuse(context, grpc.StatusCode.UNAUTHENTICATED, "the key was revoked")

    server.on("WatchAttempts", watch)
    lines = run("watch", "--json").stdout.splitlines()
    # In the middle of a response only the token before it misses nothing.
    assert [json.loads(line)["resume_token"] for line in lines] == ["a", "b", "c"]


def test_a_watch_goes_on_behind_a_token(run: Run, server: FakeServer) -> None:
    show_and_refuse(server)
    run("watch", "--json", "--failed", "--after", "b")
    assert server.requests("WatchAttempts") == [
        WatchAttemptsRequest(kinds=[ATTEMPT_EVENT_KIND_FAILED], resume_token="b")
    ]


def test_a_watch_begins_at_a_time_or_behind_a_token(run: Run, server: FakeServer) -> None:
    result = run("watch", "--since", "1h", "--after", "b")
    assert result.exit_code == 2
    assert "--since" in result.stderr
    assert "--after" in result.stderr
    assert not server.requests("WatchAttempts")


def test_a_watch_of_what_is_no_longer_kept_tells_where_that_begins(
    run: Run, server: FakeServer
) -> None:
    server.on(
        "WatchAttempts",
        lambda request, context: refuse(
            context,
            grpc.StatusCode.OUT_OF_RANGE,
            "The time is older than the history that is kept.",
            ErrorInfo(reason="WATCH_HISTORY_GONE", metadata={"oldest_resume_token": "z"}),
        ),
    )
    result = run("watch", "--since", "1000d")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: The time is older than the history that is kept."
        " What is kept begins with: --after z\n"
    )


@pytest.mark.parametrize(
    ("options", "kinds"),
    [([], []), (["--succeeded"], [ATTEMPT_EVENT_KIND_SUCCEEDED])],
)
def test_everything_is_watched_from_now_on_unless_told(
    run: Run, server: FakeServer, options: list[str], kinds: list[int]
) -> None:
    show_and_refuse(server)
    run("watch", *options)
    (request,) = server.requests("WatchAttempts")
    assert request == made(attempt_service_pb2.WatchAttemptsRequest, kinds=kinds)


def test_a_pipe_gets_an_event_while_the_watch_goes_on(start: Start, server: FakeServer) -> None:
    show_and_stay(server, SUCCEEDED)
    for arguments in (["watch", "--json"], ["watch"]):
        process = start(*arguments)
        assert process.stdout is not None
        assert "invoice.paid" in process.stdout.readline()
        assert process.poll() is None


@pytest.mark.parametrize(("signal_", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_watch_quietly(
    start: Start, server: FakeServer, signal_: signal.Signals, exit_code: int
) -> None:
    show_and_stay(server, SUCCEEDED)
    process = start("watch", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal_)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (exit_code, "", "")
