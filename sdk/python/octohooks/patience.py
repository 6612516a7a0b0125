"""How long a call may go on asking when the server says that its key makes too many requests."""

import time

from octohooks.backoff import Backoff
from octohooks.errors import OctohooksError, RateLimited


class Patience:
    """The time of one call. It is asked again only where nothing of it was done."""

    __slots__ = ("_backoff", "_ends_at", "_refusals")

    def __init__(self, timeout: float | None, backoff: Backoff) -> None:
        """`timeout` is what the whole call may take, in seconds; None for no limit."""
        self._backoff = backoff
        self._ends_at = None if timeout is None else time.monotonic() + timeout
        self._refusals = 0

    def left(self) -> float | None:
        """The seconds that are left, or None for no limit."""
        return None if self._ends_at is None else max(self._ends_at - time.monotonic(), 0.0)

    def pause_after(self, error: OctohooksError) -> float | None:
        """How many seconds to wait before the call is made again; None when it is not to be."""
        if not isinstance(error, RateLimited) or error.reason != "RATE_LIMITED":
            return None
        self._refusals += 1
        told = error.retry_after
        pause = max(told.total_seconds() if told else 0.0, self._backoff.delay(self._refusals))
        left = self.left()
        return None if left is not None and pause >= left else pause
