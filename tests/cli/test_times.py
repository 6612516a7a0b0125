import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_cli.times import format_duration, format_time, parse_duration, parse_time

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def two_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # POSIX counts westwards.
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("5s", timedelta(seconds=5)),
        ("5", timedelta(seconds=5)),
        ("1.5h", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("90d", timedelta(days=90)),
        ("0s", timedelta(0)),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "h", "5 s", "-5s", "5x", "1h 30m", "nan", "1e3s"])
def test_other_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_beyond_all_calendars_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("9999999999999d")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(microseconds=12_345), "12.3ms"),
        (timedelta(seconds=1.2345), "1.23s"),
        (timedelta(seconds=5), "5s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(hours=1, minutes=30, seconds=0.5), "1h30m0.5s"),
        (timedelta(days=90), "90d"),
    ],
)
def test_a_duration_is_shown_in_its_largest_units(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365)))
def test_what_is_shown_can_be_typed_again_and_means_nearly_the_same(duration: timedelta) -> None:
    again = parse_duration(format_duration(duration))
    assert abs(again - duration) <= max(duration * 0.005, timedelta(microseconds=1))


def test_a_duration_as_a_time_means_so_long_ago_or_so_long_from_now() -> None:
    assert parse_time("1h", now=NOON, direction=-1) == NOON - timedelta(hours=1)
    assert parse_time("1h", now=NOON, direction=1) == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    "text", ["2026-03-01T14:00", "2026-03-01T12:00Z", "2026-03-01T13:00+01:00", "20260301T140000"]
)
def test_a_time_without_a_zone_is_local(text: str) -> None:
    assert parse_time(text, now=NOON, direction=-1) == NOON


@pytest.mark.parametrize("text", ["", "yesterday", "12:00", "9999999d", "0001-01-01"])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time"):
        parse_time(text, now=NOON, direction=-1)


def test_a_time_of_today_is_shown_without_its_date() -> None:
    assert format_time(NOON - timedelta(hours=13), now=NOON) == "01:00:00"


def test_a_time_of_another_local_day_is_shown_with_its_date() -> None:
    assert format_time(NOON - timedelta(hours=15), now=NOON) == "2026-02-28 23:00:00"
    assert format_time(NOON + timedelta(hours=10), now=NOON) == "2026-03-02 00:00:00"
