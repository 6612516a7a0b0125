"""Between Python's values and protobuf's well-known types."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

from octohooks_server.store.columns import to_microseconds

_MILLION = 1_000_000
_BILLION = 1_000_000_000
_MICROSECOND = timedelta(microseconds=1)


def timestamp(time: datetime | None) -> Timestamp | None:
    """The time as a `Timestamp`; None stays None, which a protobuf constructor takes as unset."""
    if time is None:
        return None
    seconds, microseconds = divmod(to_microseconds(time), _MILLION)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def moment(value: Timestamp) -> datetime:
    """The `Timestamp` as an aware time, cut to whole microseconds.

    Raises ValueError outside the years 1 to 9999.
    """
    return value.ToDatetime(tzinfo=UTC)


def duration(span: timedelta | None) -> Duration | None:
    """The span as a `Duration`; None stays None."""
    if span is None:
        return None
    total = span // _MICROSECOND
    seconds, microseconds = divmod(abs(total), _MILLION)
    sign = -1 if total < 0 else 1
    return Duration(seconds=sign * seconds, nanos=sign * microseconds * 1000)


def span(value: Duration) -> timedelta:
    """The `Duration` as a span, cut to whole microseconds.

    Raises ValueError beyond what a span holds, and for one that is not well-formed: its nanoseconds
    are less than a second and have the sign of its seconds.
    """
    if abs(value.nanos) >= _BILLION or value.seconds * value.nanos < 0:
        raise ValueError("duration not well-formed")
    try:
        return value.ToTimedelta()
    except OverflowError:
        raise ValueError("duration out of range") from None


def retry_schedule(steps: Sequence[timedelta] | None) -> RetrySchedule | None:
    """The steps as a `RetrySchedule`; None stays None."""
    if steps is None:
        return None
    return RetrySchedule(steps=[one for step in steps if (one := duration(step)) is not None])


def steps_of(schedule: RetrySchedule) -> tuple[timedelta, ...]:
    """The steps of a `RetrySchedule`."""
    return tuple(span(step) for step in schedule.steps)
