"""What can go wrong, in the words of the domain; the transport's codes are given elsewhere.

Every error carries a reason that programs can act on: a name of `octohooks.v1.ErrorReason` without
its prefix, as `google.rpc.ErrorInfo` holds it. Messages are sentences for the caller, so they never
hold a secret, a payload or another exception's text.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import ClassVar, NamedTuple

_MOST_SHOWN = 256


class OctohooksError(Exception):
    """The base of all errors that are meant for a caller."""

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason if reason is not None else self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})


def _shown(reference: str) -> str:
    """What of a caller's text comes back to it: an answer must not grow with the question."""
    return reference if len(reference) <= _MOST_SHOWN else reference[:_MOST_SHOWN] + "…"


class NotFound(OctohooksError):
    """No such entity for this caller; a deleted or a foreign one answers exactly the same."""

    default_reason = "NOT_FOUND"

    def __init__(self, kind: str, reference: str) -> None:
        """`kind` is a noun such as `application`; `reference` is what the caller gave."""
        shown = _shown(reference)
        super().__init__(f"There is no {kind} {shown!r}.")
        self.kind = kind
        self.reference = shown


class AlreadyExists(OctohooksError):
    """Another entity in the same scope has this UID or name."""

    default_reason = "UID_TAKEN"

    def __init__(self, kind: str, reference: str) -> None:
        """`kind` is a noun such as `application`; `reference` is the UID or name that is taken."""
        super().__init__(
            f"There is already an {kind} {reference!r}."
            if kind[0] in "aeiou"
            else f"There is already a {kind} {reference!r}."
        )
        self.kind = kind
        self.reference = reference


class Violation(NamedTuple):
    """What is wrong with one field."""

    field: str
    """The path of the field in the request, such as `endpoint.url` or `messages[3].payload`."""
    description: str
    """A sentence that says what is wrong and what would be right."""


class InvalidArgument(OctohooksError):
    """The request is wrong whatever the state of the system; names every field that is."""

    default_reason = "INVALID_FIELD"

    def __init__(
        self,
        violations: Iterable[tuple[str, str]],
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Take (field path, description) pairs, at least one."""
        self.violations = tuple(Violation(field, text) for field, text in violations)
        if not self.violations:
            raise ValueError("InvalidArgument needs at least one violation")
        message = " ".join(f"{field}: {text}" for field, text in self.violations)
        super().__init__(message, reason=reason, metadata=metadata)

    @classmethod
    def of(
        cls,
        field: str,
        description: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> "InvalidArgument":
        """One wrong field."""
        return cls([(field, description)], reason=reason, metadata=metadata)


class FailedPrecondition(OctohooksError):
    """The request would be right in another state of the system; the reason says which."""

    def __init__(
        self, message: str, *, reason: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)


class Unauthenticated(OctohooksError):
    """No valid key came with the call; one sentence for every cause, so that none can be probed."""

    default_reason = "INVALID_API_KEY"

    def __init__(self) -> None:
        super().__init__("The call needs a valid API key in its authorization metadata.")


class PermissionDenied(OctohooksError):
    """The key is valid and does not open this method."""

    default_reason = "OPERATOR_KEY_REQUIRED"


class ResourceExhausted(OctohooksError):
    """A limit is reached, or something is too large."""

    default_reason = "LIMIT_REACHED"

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """`retry_after` is how long to wait before another try; None where it does not help."""
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class Unavailable(OctohooksError):
    """The system cannot answer now; nothing was stored and the call can be repeated."""

    default_reason = "DATABASE_UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """`retry_after` is how long to wait before the repetition; None says nothing about it."""
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class OutOfRange(OctohooksError):
    """What is asked for lies before the oldest that is kept."""

    default_reason = "WATCH_HISTORY_GONE"
