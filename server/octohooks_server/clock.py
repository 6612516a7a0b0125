"""Time: the system's, and one made from it that never jumps."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

# How much faster or slower than real time the steady clock may run to follow the system's: half of
# a retry's jitter, so that a wait stays about what the schedule promises.
_MOST_CORRECTION = 0.05


def system_clock() -> datetime:
    """The time of the system; it jumps when somebody sets it."""
    return datetime.now(UTC)


def seconds_since_boot() -> float:
    """Real time that passed, with the time that the machine slept where the system tells it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SteadyClock:
    """Follows another clock without its jumps, never backwards, by at most 5 % off real time.

    When the system's clock is set by an hour, what is due does not fall due all at once, nor does
    anything stand still: the waits only run 5 % faster or slower until the clocks agree again.
    """

    def __init__(self, wall: Clock, elapsed: Callable[[], float] = seconds_since_boot) -> None:
        """`elapsed` counts seconds from any beginning and must never go back."""
        self._wall = wall
        self._elapsed = elapsed
        self._seen_at = elapsed()
        self._now = wall()

    def __call__(self) -> datetime:
        """The steady time."""
        seen_at = self._elapsed()
        passed = seen_at - self._seen_at
        self._seen_at = seen_at
        expected = self._now + timedelta(seconds=passed)
        most = timedelta(seconds=passed * _MOST_CORRECTION)
        self._now = expected + min(max(self._wall() - expected, -most), most)
        return self._now
