"""The Python SDK of Octohooks, the webhook sender.

from octohooks import Octohooks

octohooks = Octohooks("AUTH_TOKEN", target="localhost:50051")
"""

from octohooks.backoff import Backoff
from octohooks.client import AsyncOctohooks, Octohooks
from octohooks.errors import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
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
from octohooks.outbox import Acknowledgement
from octohooks.version import __version__
from octohooks.watch import AsyncWatch, Watch
from octohooks.webhook import Webhook, WebhookVerificationError

__all__ = [
    "Acknowledgement",
    "AlreadyExists",
    "AsyncOctohooks",
    "AsyncWatch",
    "Backoff",
    "Cancelled",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "Octohooks",
    "OctohooksError",
    "OutOfRange",
    "PermissionDenied",
    "RateLimited",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Violation",
    "Watch",
    "Webhook",
    "WebhookVerificationError",
    "__version__",
]
