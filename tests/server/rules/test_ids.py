import itertools
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules import ids
from octohooks_server.rules.ids import IdFactory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def factory(times: list[datetime]) -> IdFactory:
    remaining = iter(times)
    return IdFactory(lambda: next(remaining), os.urandom)


@given(steps=st.lists(st.timedeltas(timedelta(days=-2), timedelta(days=2)), max_size=50))
def test_ids_strictly_increase_whatever_the_clock_does(steps: list[timedelta]) -> None:
    times = [NOON + step for step in steps]
    make = factory(times)
    made = [make.new(ids.MESSAGE) for _ in times]
    assert made == sorted(set(made))
    assert all(ids.is_id(one, ids.MESSAGE) for one in made)


def test_more_ids_than_the_counter_holds_in_one_millisecond_strictly_increase() -> None:
    # Every byte 0xFF starts the counter as high as it starts at all.
    make = IdFactory(lambda: NOON, lambda count: b"\xff" * count)
    made = [make.new(ids.ATTEMPT) for _ in range(600_000)]
    assert all(first < second for first, second in itertools.pairwise(made))
    assert ids.is_id(made[-1], ids.ATTEMPT)


def test_ids_of_two_processes_in_one_millisecond_differ() -> None:
    first = IdFactory(lambda: NOON, os.urandom)
    second = IdFactory(lambda: NOON, os.urandom)
    assert not {first.new(ids.MESSAGE) for _ in range(100)} & {
        second.new(ids.MESSAGE) for _ in range(100)
    }


@given(
    earlier=st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),
    gap=st.timedeltas(timedelta(milliseconds=1), timedelta(days=999)),
)
def test_ids_of_two_processes_sort_by_creation_time(earlier: datetime, gap: timedelta) -> None:
    before = IdFactory(lambda: earlier, os.urandom).new(ids.ENDPOINT)
    after = IdFactory(lambda: earlier + gap, os.urandom).new(ids.ENDPOINT)
    assert before < after


@given(
    time=st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC)),
    wait=st.timedeltas(timedelta(milliseconds=2), timedelta(days=999)),
)
def test_the_ids_of_a_time_and_later_are_found_by_what_sorts_before_them(
    time: datetime, wait: timedelta
) -> None:
    first = ids.first_id(ids.MESSAGE, time)
    assert first < IdFactory(lambda: time, os.urandom).new(ids.MESSAGE)
    assert first > IdFactory(lambda: time - wait, os.urandom).new(ids.MESSAGE)
    assert first == ids.first_id(ids.MESSAGE, time - wait, wait)


def test_times_that_no_id_can_hold_are_before_and_behind_all() -> None:
    day = timedelta(days=1)
    first = ids.first_id(ids.MESSAGE, datetime.min.replace(tzinfo=UTC), -day)
    last = ids.first_id(ids.MESSAGE, datetime.max.replace(tzinfo=UTC), day)
    assert first < IdFactory(lambda: datetime.now(UTC), os.urandom).new(ids.MESSAGE) < last


def test_an_id_holds_its_time_as_ulids_do() -> None:
    # The example of the ULID specification: 1469918176385 ms is 01ARYZ6S41.
    made = IdFactory(lambda: datetime.fromtimestamp(1469918176.385, UTC), os.urandom)
    assert made.new(ids.MESSAGE)[:14] == "msg_01ARYZ6S41"


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "msg_",
        "msg_01ARYZ6S41TSV4RRFFQ69G5FA",
        "msg_01ARYZ6S41TSV4RRFFQ69G5FAVX",
        "msg_01ARYZ6S41TSV4RRFFQ69G5FAV\n",
        "msg_01aryz6s41tsv4rrffq69g5fav",
        "msg_01ARYZ6S41TSV4RRFFQ69G5FAU",
        "msg_81ARYZ6S41TSV4RRFFQ69G5FAV",
        "app_01ARYZ6S41TSV4RRFFQ69G5FAV",
        "01ARYZ6S41TSV4RRFFQ69G5FAV",
    ],
)
def test_what_is_not_exactly_an_id_of_the_kind_is_none(reference: str) -> None:
    assert ids.is_id("msg_01ARYZ6S41TSV4RRFFQ69G5FAV", ids.MESSAGE)
    assert not ids.is_id(reference, ids.MESSAGE)


@pytest.mark.parametrize("prefix", ids.PREFIXES)
def test_a_reference_with_any_kinds_prefix_looks_like_an_id(prefix: str) -> None:
    assert ids.looks_like_an_id(prefix + "customer")
    assert not ids.looks_like_an_id("customer-" + prefix)
    assert not ids.looks_like_an_id(prefix.removesuffix("_"))
