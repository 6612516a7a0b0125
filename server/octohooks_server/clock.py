"""Time: the system's, one made from it that never jumps, and one that servers share."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from octohooks_server.rules.shared_time import MOST_CORRECTION

Clock = Callable[[], datetime]

# Seconds for which one reading of the steady clock is good: IDs are made by it, many at once.
_GRAIN = 0.0005
# By less than this, a shared clock never goes back.
_LEAST_JUMP = timedelta(seconds=1)


def system_clock() -> datetime:
    """The time of the system; it jumps when somebody sets it."""
    return datetime.now(UTC)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def seconds_since_boot() -> float:
    """Real time that passed, with the time that the machine slept where the system tells it."""
    return time.clock_gettime(_BOOT_CLOCK)


class SteadyClock:
    """Follows another clock without its jumps, never backwards, by at most 5 % off real time.

    When the system's clock is set by an hour, what is due does not fall due all at once, nor does
    anything stand still: the waits only run 5 % faster or slower until the clocks agree again. Any
    thread may ask.
    """

    def __init__(self, wall: Clock, elapsed: Callable[[], float] = seconds_since_boot) -> None:
        """`elapsed` counts seconds from any beginning and must never go back."""
        self._wall = wall
        self._elapsed = elapsed
        self._seen_at = elapsed()
        self._now = wall()
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """The steady time, to half a millisecond."""
        with self._lock:
            seen_at = self._elapsed()
            passed = seen_at - self._seen_at
            if passed < _GRAIN:
                return self._now
            self._seen_at = seen_at
            expected = self._now + timedelta(seconds=passed)
            most = passed * MOST_CORRECTION
            # In seconds, since arithmetic with timedeltas costs several times as much.
            behind = (self._wall() - expected).total_seconds()
            self._now = expected + timedelta(seconds=min(max(behind, -most), most))
            return self._now


class TurnClock:
    """Another clock, read at most once in each turn of the event loop.

    For what happens so often that reading it each time would cost more than the rest.
    """

    def __init__(self, clock: Clock, loop_time: Callable[[], float]) -> None:
        """`loop_time` is the loop's, which on a fast loop stands still for a turn."""
        self._clock = clock
        self._loop_time = loop_time
        self._read_at = loop_time()
        self._now = clock()

    def __call__(self) -> datetime:
        """The time as of this turn."""
        read_at = self._loop_time()
        if read_at != self._read_at:
            self._read_at = read_at
            self._now = self._clock()
        return self._now


# A reading that takes longer says too little about the moment at which the time was read.
_SLOWEST_READING_SECONDS = 0.5


class TimeSource(Protocol):
    """Where servers find the time that they share."""

    async def read(self) -> datetime:
        """The shared time now."""
        ...

    async def note(self) -> None:
        """Leaves there for the others what the last reading has to tell them."""
        ...


class SharedClock:
    """The time that servers on a database share: read now and then, and counted on in between.

    What is due and which claims have ended is compared between servers, so they have to agree on
    the time even when the clock of one of them is wrong.
    """

    def __init__(
        self,
        wall: Clock,
        source: TimeSource,
        elapsed: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """It is `wall` until it is set for the first time, by what it reads at `source`.

        `elapsed` is as for a `SteadyClock`.
        """
        self._source = source
        self._elapsed = elapsed
        self._seen_at = elapsed()
        self._seen = wall()
        self._latest = self._seen
        self._is_set = False

    def __call__(self) -> datetime:
        """The shared time."""
        now = self._seen + timedelta(seconds=self._elapsed() - self._seen_at)
        # A reading that was a little late sets it back by as little: then it waits instead.
        if now < self._latest < now + _LEAST_JUMP:
            return self._latest
        self._latest = now
        return now

    async def follow(self) -> None:
        """Sets it by one reading; half of the time that the reading took is its way back."""
        asked_at = self._elapsed()
        seen = await self._source.read()
        answered_at = self._elapsed()
        # One that took longer may have waited on its way there or on its way back; it is counted on
        # instead.
        if not self._is_set or answered_at - asked_at <= _SLOWEST_READING_SECONDS:
            self._is_set = True
            self._seen = seen + timedelta(seconds=(answered_at - asked_at) / 2)
            self._seen_at = answered_at
        await self._source.note()
