"""What an exchange with a receiver means for its delivery and its endpoint."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from octohooks_server.rules.schedule import retry_after

DISABLED_AFTER = timedelta(days=5)
"""For how long an endpoint's deliveries may only fail before it is disabled."""

FAILING_AT_FAILURE = 4
"""Which failure of a delivery is reported as `message.attempt.failing`."""

_GONE = 410
_TOO_MANY_REQUESTS = 429
_SERVICE_UNAVAILABLE = 503


def succeeded(status: int) -> bool:
    """Whether a response with this HTTP status delivers the message; 0, no response, does not."""
    return 200 <= status <= 299


def disables_endpoint(status: int) -> bool:
    """Whether the receiver says by this status that it wants no message ever again."""
    return status == _GONE


def time_asked_for(
    status: int, headers: Iterable[tuple[str, str]], *, now: datetime
) -> datetime | None:
    """Before when the receiver asks not to be tried again; None when it does not, or has no say.

    Only 429 and 503 have one, by their first Retry-After header; names are in any case.
    """
    if status not in (_TOO_MANY_REQUESTS, _SERVICE_UNAVAILABLE):
        return None
    value = next((value for name, value in headers if name.lower() == "retry-after"), None)
    return retry_after(value, now=now)


def disabled_by_failures(failing_since: datetime | None, *, now: datetime) -> bool:
    """Whether the endpoint's deliveries have only failed for five days.

    `failing_since` is the time of the first failure after its last success; None when its last
    attempt succeeded or there was none.
    """
    return failing_since is not None and now - failing_since >= DISABLED_AFTER
