from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.schedule import (
    DEFAULT_SCHEDULE,
    MAX_STEP,
    later_of,
    next_attempt_time,
    retry_after,
    schedule_problem,
    with_jitter,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

waits = st.timedeltas(timedelta(0), MAX_STEP)
randoms = st.floats(0, 1, exclude_max=True)


def test_the_default_schedule_has_eight_attempts() -> None:
    due = [
        next_attempt_time(DEFAULT_SCHEDULE, attempt_number=number, failed_at=NOON)
        for number in range(1, 10)
    ]
    assert [time and time - NOON for time in due] == [
        timedelta(0),
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=10),
        None,
    ]


@given(wait=waits, random=randoms)
def test_jitter_moves_a_wait_by_at_most_a_tenth(wait: timedelta, random: float) -> None:
    assert abs(with_jitter(wait, random) - wait) <= wait / 10 + MICROSECOND


def test_jitter_reaches_both_ends_and_the_middle() -> None:
    wait = timedelta(seconds=100)
    assert with_jitter(wait, 0.0) == timedelta(seconds=90)
    assert with_jitter(wait, 0.5) == wait
    assert with_jitter(wait, 0.999_999) > timedelta(seconds=109.9)


@given(wait=waits, random=randoms)
def test_a_next_attempt_is_never_before_the_failure(wait: timedelta, random: float) -> None:
    due = next_attempt_time((wait,), attempt_number=1, failed_at=NOON, random=random)
    assert due is not None
    assert due >= NOON


@given(
    wait=waits,
    random=randoms,
    asked=st.none() | st.timedeltas(timedelta(0), MAX_STEP).map(lambda delta: NOON + delta),
)
def test_jitter_never_brings_an_attempt_before_the_time_asked_for(
    wait: timedelta, random: float, asked: datetime | None
) -> None:
    scheduled = next_attempt_time((wait,), attempt_number=1, failed_at=NOON, random=random)
    due = later_of(scheduled, asked)
    assert due is not None
    assert due >= (asked or NOON)
    assert due in (scheduled, asked)


def test_a_receiver_cannot_prolong_a_schedule_that_has_ended() -> None:
    assert later_of(None, NOON) is None


@pytest.mark.parametrize(
    "value",
    [
        "120",
        "0120",
        " 120\t",
        "Sun, 01 Mar 2026 12:02:00 GMT",
        "Sunday, 01-Mar-26 12:02:00 GMT",
        "Sun Mar  1 12:02:00 2026",
    ],
)
def test_retry_after_is_read_in_every_form(value: str) -> None:
    assert retry_after(value, now=NOON) == NOON + timedelta(minutes=2)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "0",
        "-5",
        "+5",
        "1.5",
        "5s",
        "soon",
        "٣",
        "1_000",
        "Sun, 01 Mar 2026 11:59:59 GMT",
        "Sun, 01 Mar 2026 12:00:00 GMT",
        "Sun, 31 Feb 2026 12:02:00 GMT",
        "Sun, 01 Mar 2026 25:02:00 GMT",
        "Sun, 01 Mar 99999 12:02:00 GMT",
        "x" * 10_000,
    ],
)
def test_a_retry_after_that_asks_for_nothing_is_ignored(value: str | None) -> None:
    assert retry_after(value, now=NOON) is None


@pytest.mark.parametrize("value", ["86401", "9" * 9, "9" * 20_000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_capped_at_a_day(value: str) -> None:
    assert retry_after(value, now=NOON) == NOON + timedelta(hours=24)


@given(value=st.text(max_size=60) | st.text("0123456789 :,-+SunMarGT", max_size=40))
def test_any_retry_after_gives_a_time_within_a_day_or_none(value: str) -> None:
    asked = retry_after(value, now=NOON)
    assert asked is None or NOON < asked <= NOON + timedelta(hours=24)


@given(seconds=st.integers(1, 86_400))
def test_both_forms_of_retry_after_mean_the_same_time(seconds: int) -> None:
    date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, now=NOON) == retry_after(str(seconds), now=NOON)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [timedelta(0)] * 21,
        [timedelta(0), timedelta(hours=24, microseconds=1)],
        [timedelta(microseconds=-1)],
    ],
)
def test_a_schedule_outside_its_limits_is_refused(steps: list[timedelta]) -> None:
    assert schedule_problem(steps) is not None


@pytest.mark.parametrize(
    "steps", [[timedelta(0)], [timedelta(hours=24)] * 20, list(DEFAULT_SCHEDULE)]
)
def test_a_schedule_within_its_limits_is_taken(steps: list[timedelta]) -> None:
    assert schedule_problem(steps) is None
