"""What a call raises when it is refused, with what the server says about it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from octohooks.v1.error_pb2 import Failure

M = TypeVar("M", bound=Message)

_STATUS_KEY = "grpc-status-details-bin"


class Violation(NamedTuple):
    """One field that is wrong, and what is wrong with it."""

    field: str
    description: str


class OctohooksError(Exception):
    """A call, or one message of a batch or stream, was refused or did not get through."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    """The gRPC status."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        details: Sequence[Message] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """A sentence for people."""
        if code is not None:
            self.code = code
        self.details = tuple(details)
        """The details of the `google.rpc.Status`, as far as their types are known."""
        self._request_id = request_id

    @property
    def reason(self) -> str | None:
        """The stable name of the cause, such as `UID_TAKEN`: an `octohooks.v1.ErrorReason` without
        its prefix. None when the server did not say, for example since it could not be reached."""
        info = self._detail(ErrorInfo)
        return info.reason if info else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """More about the reason, by keys that `octohooks.v1.ErrorReason` documents."""
        info = self._detail(ErrorInfo)
        return dict(info.metadata) if info else {}

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The fields of the request that are wrong."""
        bad = self._detail(BadRequest)
        return tuple(Violation(v.field, v.description) for v in bad.field_violations) if bad else ()

    @property
    def resource(self) -> ResourceInfo | None:
        """What was not found, or exists already."""
        return self._detail(ResourceInfo)

    @property
    def retry_after(self) -> timedelta | None:
        """How long to wait before another try, where the server says that waiting helps."""
        info = self._detail(RetryInfo)
        return info.retry_delay.ToTimedelta() if info and info.HasField("retry_delay") else None

    @property
    def request_id(self) -> str | None:
        """What finds the call in the server's log and in its audit log; the server tells it with
        every answer. None when the call did not get there, and for one item of a batch or stream.
        """
        info = self._detail(RequestInfo)
        return (
            (info.request_id if info else None)
            or self.metadata.get("correlation_id")
            or self._request_id
        )

    def __str__(self) -> str:
        violations = [f"{field}: {description}" for field, description in self.violations]
        # The sentence often is that of the first field already.
        unsaid = [violation for violation in violations if violation not in self.message]
        return "; ".join([self.message or self.code.name, *unsaid])

    def _detail(self, kind: type[M]) -> M | None:
        return next((detail for detail in self.details if isinstance(detail, kind)), None)


class Cancelled(OctohooksError):
    """The call was cancelled, for example since the client was closed."""

    code = grpc.StatusCode.CANCELLED


class InvalidArgument(OctohooksError):
    """Something in the request is wrong; `violations` names the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(OctohooksError):
    """No answer came in time. What was asked may have been done nevertheless."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(OctohooksError):
    """There is no such entity, or it was deleted, or it belongs to another environment."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(OctohooksError):
    """Another entity has this UID or name."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(OctohooksError):
    """The API key is good, but not for this method."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(OctohooksError):
    """A limit was reached, such as the size of a payload; `reason` tells which."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class RateLimited(ResourceExhausted):
    """A limit was reached that waiting helps against; `retry_after` tells how long."""


class FailedPrecondition(OctohooksError):
    """Things are not in the state that the call needs; `reason` tells what is in the way."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(OctohooksError):
    """The watch would begin before what the server keeps."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(OctohooksError):
    """The server does not serve this method."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(OctohooksError):
    """A defect of the server; `request_id` finds it in the server's log."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(OctohooksError):
    """The server cannot be reached, or cannot answer at the moment."""

    code = grpc.StatusCode.UNAVAILABLE


class Unauthenticated(OctohooksError):
    """The API key is missing, unknown, revoked or expired."""

    code = grpc.StatusCode.UNAUTHENTICATED


_CLASSES: Mapping[grpc.StatusCode, type[OctohooksError]] = {
    cls.code: cls for cls in OctohooksError.__subclasses__()
}
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_DETAIL_TYPES: tuple[type[Message], ...] = (
    BadRequest,
    ErrorInfo,
    RequestInfo,
    ResourceInfo,
    RetryInfo,
)


def error_from_rpc(error: grpc.RpcError) -> OctohooksError:
    """The exception for a failed call, with what its trailing metadata tells."""
    call: Any = error
    trailing = dict(call.trailing_metadata() or ())
    return _error(
        call.code(),
        call.details() or "",
        _status_details(trailing.get(_STATUS_KEY)),
        request_id=trailing.get("request-id") or trailing.get("x-request-id"),
    )


def error_from_failure(failure: Failure) -> OctohooksError:
    """The exception for one refused item of a batch or stream."""
    code = _CODES.get(failure.code, grpc.StatusCode.UNKNOWN)
    return _error(code, failure.message, _unpacked(failure.details))


def is_cut(error: OctohooksError) -> bool:
    """Whether a stream ended for no reason of the server's own, or since the server is stopping, so
    that it can go on over another connection."""
    if isinstance(error, Unavailable):
        return True
    # A stream that waited at a server when it began to stop (grpc/grpc#41785). What this side
    # cancels reads differently.
    if isinstance(error, Cancelled):
        return error.message == "CANCELLED"
    # What gRPC makes of a proxy's RST_STREAM; an error of the server's own has a reason.
    return isinstance(error, Internal) and error.reason is None and "RST_STREAM" in error.message


def _error(
    code: grpc.StatusCode,
    message: str,
    details: Sequence[Message],
    request_id: str | None = None,
) -> OctohooksError:
    error = _CLASSES.get(code, OctohooksError)(
        message, code=code, details=details, request_id=request_id
    )
    if type(error) is ResourceExhausted and error.retry_after is not None:
        return RateLimited(message, code=code, details=details, request_id=request_id)
    return error


def _status_details(serialized: bytes | None) -> Sequence[Message]:
    if serialized is None:
        return ()
    try:
        return _unpacked(Status.FromString(serialized).details)
    except DecodeError:
        # Whatever stands between may send what it likes; the code and the message still count.
        return ()


def _unpacked(details: Any) -> Sequence[Message]:
    messages: list[Message] = []
    for detail in details:
        for kind in _DETAIL_TYPES:
            message = kind()
            if detail.Unpack(message):
                messages.append(message)
    return messages
