"""When the next attempt is made: the retry schedule, its jitter, and the receiver's Retry-After."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeAlias

Schedule: TypeAlias = tuple[timedelta, ...]
"""The wait before each scheduled attempt: the first counted from the message's acceptance, each
other one from the failure before it."""

DEFAULT_SCHEDULE: Schedule = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)

MAX_STEPS = 20
MAX_STEP = timedelta(hours=24)
MAX_RETRY_AFTER = timedelta(hours=24)

NO_JITTER = 0.5
"""The random number that leaves a wait as it is."""

_SECONDS = re.compile(r"[0-9]+")
# What the three forms of an HTTP date are made of; the parser takes a great deal more.
_DATE = re.compile(r"[A-Za-z0-9 ,:-]{1,40}")


def schedule_problem(steps: Sequence[timedelta]) -> str | None:
    """Why `steps` cannot be a retry schedule, as a sentence; None when they can."""
    if not 1 <= len(steps) <= MAX_STEPS:
        return f"A retry schedule has 1 to {MAX_STEPS} steps, not {len(steps)}."
    for number, step in enumerate(steps, start=1):
        if not timedelta(0) <= step <= MAX_STEP:
            return f"Step {number} is not between 0 and 24 hours."
    return None


def next_attempt_time(
    schedule: Schedule, *, attempt_number: int, failed_at: datetime, random: float = NO_JITTER
) -> datetime | None:
    """When scheduled attempt `attempt_number` (from 1) is due; None when the schedule has ended.

    `failed_at` is when the attempt before it failed; for attempt 1, when the message was accepted.
    `random` in [0, 1) places the wait in its jitter. With the default schedule, attempt 3 is due
    five minutes after attempt 2 failed.
    """
    if attempt_number > len(schedule):
        return None
    return failed_at + with_jitter(schedule[attempt_number - 1], random)


def with_jitter(wait: timedelta, random: float) -> timedelta:
    """`wait` made shorter or longer by at most a tenth; `random` is in [0, 1)."""
    return wait + (wait / 5) * (random - NO_JITTER)


def retry_after(value: str | None, *, now: datetime) -> datetime | None:
    """The time that a Retry-After header asks for, at most 24 hours from `now`.

    Both forms of RFC 9110, section 10.2.3 are read: a number of seconds and an HTTP date. None when
    the header is missing, is neither, or names no time after `now`.
    """
    if value is None:
        return None
    value = value.strip(" \t")
    latest = now + MAX_RETRY_AFTER
    if _SECONDS.fullmatch(value):
        digits = value.lstrip("0")
        # Ten digits are more than the cap, and no number is read that takes long to read.
        if len(digits) >= 10:
            return latest
        asked = now + timedelta(seconds=int(digits or "0"))
    else:
        date = _http_date(value)
        if date is None:
            return None
        asked = date
    return min(asked, latest) if asked > now else None


def later_of(scheduled: datetime | None, asked: datetime | None) -> datetime | None:
    """When to try next: the schedule's time, or the receiver's where that is later.

    None when the schedule has ended, since a receiver cannot prolong it.
    """
    if scheduled is None or asked is None:
        return scheduled
    return max(scheduled, asked)


def _http_date(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # An HTTP date is in GMT, whether it says so or, as in the form of asctime, does not.
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
