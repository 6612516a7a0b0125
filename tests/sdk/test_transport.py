"""What holds for every call: authentication, deadlines, retries, idempotency keys and paging."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from octohooks import DeadlineExceeded, NotFound, Octohooks, RateLimited, Unavailable
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationResponse,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
)

from tests.sdk.conftest import Connect
from tests.sdk.fake_server import (
    FakeServer,
    Handler,
    leave_waiting_at_a_stop,
    refuse,
    until_cancelled,
)

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def refuse_as_unavailable(context: grpc.ServicerContext) -> NoReturn:
    refuse(context, grpc.StatusCode.UNAVAILABLE)


def unavailable_before(
    times: int,
    answer: Any,
    end: Callable[[grpc.ServicerContext], NoReturn] = refuse_as_unavailable,
) -> Handler:
    """Ends the first calls so, then answers."""
    left = times

    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        nonlocal left
        if left:
            left -= 1
            end(context)
        return answer

    return handle


def test_calls_carry_the_api_key_and_say_which_client_they_come_from(
    connect: Connect, server: FakeServer
) -> None:
    connect("secret-key").application.get("some-user")
    [received] = server.received
    assert received.metadata["authorization"] == "Bearer secret-key"
    assert str(received.metadata["user-agent"]).startswith("octohooks-python/")


def test_an_answer_comes_back_as_the_generated_message(
    client: Octohooks, server: FakeServer
) -> None:
    application = Application(id="app_1", uid="some-user")
    server.on("GetApplication", lambda *_: GetApplicationResponse(application=application))
    assert client.application.get("some-user") == application


def test_a_delete_answers_nothing(client: Octohooks) -> None:
    # As a value, since the type checker knows it already.
    delete: Callable[[str], Any] = client.application.delete
    assert delete("some-user") is None


def test_calls_have_ten_seconds_unless_told(connect: Connect, server: FakeServer) -> None:
    client = connect()
    client.application.get("some-user")
    client.with_timeout(timedelta(minutes=1)).application.get("some-user")
    client.with_timeout(None).application.get("some-user")
    connect(timeout=3).application.get("some-user")
    first, longer, endless, shorter = [received.time_remaining for received in server.received]
    assert first is not None
    # On its way the time is rounded up a little.
    assert 3.5 < first < 11
    assert longer is not None
    assert 11 < longer < 61
    assert endless is None or endless > 1_000_000
    assert shorter is not None
    assert 0 < shorter < 3.5


def test_a_call_without_an_answer_ends_with_its_deadline(
    connect: Connect, server: FakeServer
) -> None:
    def never_answer(_: Any, context: grpc.ServicerContext) -> GetApplicationResponse:
        until_cancelled(context).wait()
        return GetApplicationResponse()

    server.on("GetApplication", never_answer)
    with pytest.raises(DeadlineExceeded):
        connect(timeout=0.05).application.get("some-user")


def test_each_create_carries_a_new_idempotency_key(client: Octohooks, server: FakeServer) -> None:
    client.application.create(name="A")
    client.application.create(name="A")
    client.message.create("some-user", event_type="x", payload={})
    client.endpoint.create("some-user", url="https://example.com")
    keys = [str(received.metadata["idempotency-key"]) for received in server.received]
    assert all(UUID.fullmatch(key) for key in keys)
    assert len(set(keys)) == 4


def test_a_callers_own_idempotency_key_is_sent(client: Octohooks, server: FakeServer) -> None:
    client.application.create(name="A", idempotency_key="signup-1")
    assert server.received[0].metadata["idempotency-key"] == "signup-1"


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ä", "x" * 257])
def test_an_idempotency_key_that_cannot_be_sent_is_refused_without_showing_the_api_key(
    key: str, connect: Connect, server: FakeServer
) -> None:
    with pytest.raises(ValueError, match="idempotency key") as refused:
        connect("secret-key").application.create(name="A", idempotency_key=key)
    assert "secret-key" not in str(refused.value)
    assert server.received == []


def test_reads_carry_no_idempotency_key(client: Octohooks, server: FakeServer) -> None:
    client.application.get("some-user")
    assert "idempotency-key" not in server.received[0].metadata


@pytest.mark.parametrize("end", [refuse_as_unavailable, leave_waiting_at_a_stop])
def test_a_create_is_retried_with_the_same_idempotency_key_while_the_server_is_unavailable(
    end: Callable[[grpc.ServicerContext], NoReturn], client: Octohooks, server: FakeServer
) -> None:
    application = Application(id="app_1")
    server.on(
        "CreateApplication",
        unavailable_before(3, CreateApplicationResponse(application=application), end),
    )
    assert client.application.create(name="A") == application
    assert len(server.received) == 4
    assert len({received.metadata["idempotency-key"] for received in server.received}) == 1


def test_a_call_is_given_up_after_five_tries(client: Octohooks, server: FakeServer) -> None:
    server.on("GetApplication", unavailable_before(99, None))
    with pytest.raises(Unavailable):
        client.application.get("some-user")
    assert len(server.received) == 5


def test_other_refusals_are_not_retried(client: Octohooks, server: FakeServer) -> None:
    def not_found(_: Any, context: grpc.ServicerContext) -> NoReturn:
        refuse(context, grpc.StatusCode.NOT_FOUND)

    server.on("GetApplication", not_found)
    with pytest.raises(NotFound):
        client.application.get("some-user")
    assert len(server.received) == 1


def test_a_server_that_is_not_there_is_unavailable(
    connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nobody = tmp_path_factory.mktemp("nobody") / "s"
    with pytest.raises(Unavailable):
        connect(target=f"unix:{nobody}").application.get("some-user")


def paged(pages: dict[str, ListApplicationsResponse]) -> Handler:
    def handle(request: ListApplicationsRequest, _: Any) -> ListApplicationsResponse:
        return pages[request.page_token]

    return handle


def named(*names: str, next_page_token: str = "") -> ListApplicationsResponse:
    return ListApplicationsResponse(
        applications=[Application(name=name) for name in names], next_page_token=next_page_token
    )


def test_a_list_asks_for_page_after_page(client: Octohooks, server: FakeServer) -> None:
    server.on(
        "ListApplications",
        # A page can be empty without being the last, where a filter lets little through.
        paged(
            {
                "": named("a", "b", next_page_token="2"),
                "2": named(next_page_token="3"),
                "3": named("c"),
            }
        ),
    )
    assert [a.name for a in client.application.list(page_size=2)] == ["a", "b", "c"]
    assert server.requests("ListApplications") == [
        ListApplicationsRequest(page_size=2, page_token=token) for token in ("", "2", "3")
    ]


def test_a_list_asks_for_a_page_only_when_it_is_needed(
    client: Octohooks, server: FakeServer
) -> None:
    server.on(
        "ListApplications",
        paged({"": named("a", "b", next_page_token="2"), "2": named("c")}),
    )
    applications = iter(client.application.list())
    assert server.received == []
    assert [next(applications).name, next(applications).name] == ["a", "b"]
    assert len(server.received) == 1
    assert next(applications).name == "c"
    assert len(server.received) == 2


def test_an_error_on_a_later_page_comes_after_the_items_before_it(
    client: Octohooks, server: FakeServer
) -> None:
    def first_page_only(
        request: ListApplicationsRequest, context: grpc.ServicerContext
    ) -> ListApplicationsResponse:
        if request.page_token:
            refuse(context, grpc.StatusCode.NOT_FOUND)
        return named("a", next_page_token="2")

    server.on("ListApplications", first_page_only)
    applications = iter(client.application.list())
    assert next(applications).name == "a"
    with pytest.raises(NotFound):
        next(applications)


def refuse_as_too_often(
    delay: timedelta, reason: str = "RATE_LIMITED"
) -> Callable[[grpc.ServicerContext], NoReturn]:
    """Refuses as a server does that is asked too often."""
    retry = RetryInfo()
    retry.retry_delay.FromTimedelta(delay)

    def end(context: grpc.ServicerContext) -> NoReturn:
        info = ErrorInfo(reason=reason, domain="octohooks")
        refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", info, retry)

    return end


def test_a_call_that_comes_too_often_is_made_again_when_the_server_says(
    client: Octohooks, server: FakeServer
) -> None:
    answer = GetApplicationResponse(application=Application(id="app_1"))
    end = refuse_as_too_often(timedelta(milliseconds=1))
    server.on("GetApplication", unavailable_before(2, answer, end))

    assert client.application.get("some-user").id == "app_1"
    assert len(server.received) == 3


def test_a_create_that_comes_too_often_keeps_its_idempotency_key(
    client: Octohooks, server: FakeServer
) -> None:
    end = refuse_as_too_often(timedelta(milliseconds=1))
    server.on("CreateApplication", unavailable_before(1, CreateApplicationResponse(), end))

    client.application.create()

    first, second = (received.metadata["idempotency-key"] for received in server.received)
    assert first == second


def test_a_call_does_not_wait_beyond_its_own_time(client: Octohooks, server: FakeServer) -> None:
    end = refuse_as_too_often(timedelta(minutes=5))
    server.on("GetApplication", lambda request, context: end(context))

    with pytest.raises(RateLimited) as raised:
        client.application.get("some-user")

    assert raised.value.retry_after == timedelta(minutes=5)
    assert len(server.received) == 1


def test_another_limit_is_not_tried_again(client: Octohooks, server: FakeServer) -> None:
    end = refuse_as_too_often(timedelta(milliseconds=1), reason="TOO_MANY_WATCHES")
    server.on("GetApplication", lambda request, context: end(context))

    with pytest.raises(RateLimited):
        client.application.get("some-user")

    assert len(server.received) == 1
