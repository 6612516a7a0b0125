"""From domain errors to `google.rpc.Status`, the one place that knows gRPC's codes."""

from collections.abc import Iterator, Sequence

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status
from octohooks.v1.error_pb2 import Failure

from octohooks_server.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OctohooksError,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)

_DOMAIN = "octohooks"
# A status travels in trailing metadata, of which gRPC clients take 8 KiB: its text twice, once with
# three bytes for each that is not ASCII, and all of it in base64. What a caller sent is told back
# only up to here, in bytes.
_MOST_BYTES_OF_MESSAGE = 800
_MOST_BYTES_OF_VIOLATIONS = 2_000
_MOST_BYTES_OF_NAME = 400
_CODES: dict[type[OctohooksError], int] = {
    InvalidArgument: Code.INVALID_ARGUMENT,
    NotFound: Code.NOT_FOUND,
    AlreadyExists: Code.ALREADY_EXISTS,
    FailedPrecondition: Code.FAILED_PRECONDITION,
    Unauthenticated: Code.UNAUTHENTICATED,
    PermissionDenied: Code.PERMISSION_DENIED,
    ResourceExhausted: Code.RESOURCE_EXHAUSTED,
    Unavailable: Code.UNAVAILABLE,
    OutOfRange: Code.OUT_OF_RANGE,
}


def status_of(error: OctohooksError) -> Status:
    """The answer to a call that failed with this error."""
    return _status(_CODES[type(error)], error.message, error.reason, error.metadata, error)


def failure_of(error: OctohooksError) -> Failure:
    """The answer for one item of a batch or stream that failed with this error."""
    status = status_of(error)
    return Failure(code=status.code, message=status.message, details=status.details)


def not_implemented(method: str) -> Status:
    """The answer of a method whose turn has not come yet."""
    return _status(
        Code.UNIMPLEMENTED,
        f"{method} is part of the contract and is not served by this release.",
        "NOT_IMPLEMENTED",
        {},
    )


def internal(correlation_id: str) -> Status:
    """The answer to a call that met a defect of ours: an ID that the log has, and nothing else."""
    return _status(
        Code.INTERNAL,
        f"Something went wrong inside Octohooks; its log knows more about {correlation_id}.",
        "INTERNAL",
        {"correlation_id": correlation_id},
    )


def _status(
    code: int,
    message: str,
    reason: str,
    metadata: dict[str, str],
    error: OctohooksError | None = None,
) -> Status:
    details: list[Message] = [ErrorInfo(reason=reason, domain=_DOMAIN, metadata=metadata)]
    if isinstance(error, InvalidArgument):
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=one.field, description=one.description)
                    for one in _first_of(error.violations)
                ]
            )
        )
    if isinstance(error, NotFound | AlreadyExists):
        name = _cut(error.reference, _MOST_BYTES_OF_NAME)
        details.append(ResourceInfo(resource_type=error.kind, resource_name=name))
    if isinstance(error, Unavailable | ResourceExhausted) and error.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_after)
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=code, message=_cut(message, _MOST_BYTES_OF_MESSAGE))
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _first_of(violations: Sequence[Violation]) -> Iterator[Violation]:
    """As many violations as there is room for, the first one at least."""
    left = _MOST_BYTES_OF_VIOLATIONS
    for field, description in violations:
        one = Violation(_cut(field, _MOST_BYTES_OF_NAME), _cut(description, _MOST_BYTES_OF_MESSAGE))
        left -= len(one.field.encode()) + len(one.description.encode())
        if left < 0:
            return
        yield one


def _cut(text: str, most_bytes: int) -> str:
    """The text, with an ellipsis in place of what is beyond `most_bytes` in UTF-8."""
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - 3].decode(errors="ignore") + "…"
