"""What a refused call raises, and what can be read from it."""

import pickle
from datetime import timedelta
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status
from octohooks import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Octohooks,
    OctohooksError,
    OutOfRange,
    PermissionDenied,
    RateLimited,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
)
from octohooks.v1.error_pb2 import Failure
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    BatchCreateMessagesResponse,
    CreateMessageResult,
)

from tests.sdk.fake_server import FakeServer, packed, refuse

DOMAIN = "octohooks"


def refused(
    client: Octohooks,
    server: FakeServer,
    code: grpc.StatusCode,
    message: str = "no",
    *details: Message,
) -> OctohooksError:
    """What a call raises that the server refuses like this."""

    def refusing(_: Any, context: grpc.ServicerContext) -> NoReturn:
        refuse(context, code, message, *details)

    server.on("GetApplication", refusing)
    with pytest.raises(OctohooksError) as raised:
        client.application.get("some-user")
    return raised.value


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.CANCELLED, Cancelled),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, AlreadyExists),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPrecondition),
        (grpc.StatusCode.OUT_OF_RANGE, OutOfRange),
        (grpc.StatusCode.UNIMPLEMENTED, Unimplemented),
        (grpc.StatusCode.INTERNAL, Internal),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.DATA_LOSS, OctohooksError),
    ],
)
def test_each_status_is_an_exception_of_its_own(
    code: grpc.StatusCode, expected: type[OctohooksError], client: Octohooks, server: FakeServer
) -> None:
    error = refused(client, server, code, "why")
    assert type(error) is expected
    assert error.code is code
    assert error.message == "why"


def test_an_invalid_argument_names_each_field_and_says_so_when_it_is_printed(
    client: Octohooks, server: FakeServer
) -> None:
    error = refused(
        client,
        server,
        grpc.StatusCode.INVALID_ARGUMENT,
        "2 fields are wrong",
        ErrorInfo(reason="INVALID_FIELD", domain=DOMAIN),
        BadRequest(
            field_violations=[
                BadRequest.FieldViolation(field="endpoint.url", description="is required"),
                BadRequest.FieldViolation(field="endpoint.channels", description="at most 10"),
            ]
        ),
    )
    assert error.reason == "INVALID_FIELD"
    assert error.violations == (
        Violation("endpoint.url", "is required"),
        Violation("endpoint.channels", "at most 10"),
    )
    assert str(error) == (
        "2 fields are wrong; endpoint.url: is required; endpoint.channels: at most 10"
    )


def test_a_violation_that_the_sentence_tells_already_is_not_printed_twice(
    client: Octohooks, server: FakeServer
) -> None:
    error = refused(
        client,
        server,
        grpc.StatusCode.INVALID_ARGUMENT,
        "endpoint.url: is required",
        BadRequest(
            field_violations=[
                BadRequest.FieldViolation(field="endpoint.url", description="is required")
            ]
        ),
    )
    assert str(error) == "endpoint.url: is required"


def test_the_details_of_a_refusal_can_be_read(client: Octohooks, server: FakeServer) -> None:
    resource = ResourceInfo(resource_type="octohooks.v1.Application", resource_name="some-user")
    error = refused(
        client,
        server,
        grpc.StatusCode.OUT_OF_RANGE,
        "too old",
        ErrorInfo(
            reason="WATCH_HISTORY_GONE", domain=DOMAIN, metadata={"oldest_resume_token": "t"}
        ),
        resource,
        RetryInfo(retry_delay=Duration(seconds=2)),
        RequestInfo(request_id="req-1"),
        # Of a type that this client does not know.
        Duration(seconds=1),
    )
    assert error.reason == "WATCH_HISTORY_GONE"
    assert error.metadata == {"oldest_resume_token": "t"}
    assert error.resource == resource
    assert error.retry_after == timedelta(seconds=2)
    assert error.request_id == "req-1"


def test_a_limit_that_waiting_helps_against_is_a_rate_limit(
    client: Octohooks, server: FakeServer
) -> None:
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = refused(
        client, server, exhausted, "too many watches", RetryInfo(retry_delay=Duration(seconds=3))
    )
    assert type(error) is RateLimited
    assert error.retry_after == timedelta(seconds=3)
    assert type(refused(client, server, exhausted, "too large")) is ResourceExhausted


def test_an_internal_error_has_the_correlation_id_as_its_request_id(
    client: Octohooks, server: FakeServer
) -> None:
    error = refused(
        client,
        server,
        grpc.StatusCode.INTERNAL,
        "a defect",
        ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"correlation_id": "c-1"}),
    )
    assert error.request_id == "c-1"


def test_a_refusal_without_details_has_none(client: Octohooks, server: FakeServer) -> None:
    error = refused(client, server, grpc.StatusCode.NOT_FOUND)
    assert error.reason is None
    assert error.metadata == {}
    assert error.violations == ()
    assert error.resource is None
    assert error.retry_after is None
    assert error.request_id is None


def test_details_that_cannot_be_read_leave_code_and_message(
    client: Octohooks, server: FakeServer
) -> None:
    def garbled(_: Any, context: grpc.ServicerContext) -> NoReturn:
        context.set_trailing_metadata(
            (("grpc-status-details-bin", b"\xff\xff"), ("request-id", "r"))
        )
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        raise AssertionError

    server.on("GetApplication", garbled)
    with pytest.raises(NotFound, match="no such thing") as raised:
        client.application.get("some-user")
    assert raised.value.request_id == "r"


def test_details_that_are_no_longer_whole_are_left_out(
    client: Octohooks, server: FakeServer
) -> None:
    def garbled(_: Any, context: grpc.ServicerContext) -> NoReturn:
        broken = packed(ErrorInfo(reason="NOT_FOUND"))
        broken.value = b"\xff\xff"
        status = Status(code=5, details=[broken])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        raise AssertionError

    server.on("GetApplication", garbled)
    with pytest.raises(NotFound) as raised:
        client.application.get("some-user")
    assert raised.value.reason is None


def test_an_item_of_a_batch_that_is_refused_is_the_exception_that_a_call_would_raise(
    client: Octohooks, server: FakeServer
) -> None:
    message = WebhookMessage(id="msg_1")
    failure = Failure(
        code=grpc.StatusCode.ALREADY_EXISTS.value[0],
        message="the UID is taken",
        details=[packed(ErrorInfo(reason="UID_TAKEN", domain=DOMAIN))],
    )

    def answer(request: BatchCreateMessagesRequest, _: Any) -> BatchCreateMessagesResponse:
        results = [CreateMessageResult(message=message), CreateMessageResult(failure=failure)]
        return BatchCreateMessagesResponse(results=results[: len(request.requests)])

    server.on("BatchCreateMessages", answer)
    accepted, error = client.message.create_batch(
        [{"application": "a", "event_type": "x", "payload": {}, "uid": "1"}] * 2
    )
    assert accepted == message
    assert isinstance(error, AlreadyExists)
    assert (error.message, error.reason) == ("the UID is taken", "UID_TAKEN")


def test_an_error_survives_pickling(client: Octohooks, server: FakeServer) -> None:
    info = ErrorInfo(reason="NOT_FOUND", domain=DOMAIN)
    error = refused(client, server, grpc.StatusCode.NOT_FOUND, "gone", info)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is NotFound
    assert (copy.message, copy.code, copy.reason) == ("gone", error.code, "NOT_FOUND")
