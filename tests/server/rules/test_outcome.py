from datetime import UTC, datetime, timedelta

import pytest
from octohooks_server.rules.outcome import (
    disabled_by_failures,
    disables_endpoint,
    succeeded,
    time_asked_for,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_success_is_a_status_of_the_two_hundreds_and_nothing_else() -> None:
    assert [status for status in range(1000) if succeeded(status)] == list(range(200, 300))


def test_only_gone_disables_an_endpoint() -> None:
    assert [status for status in range(1000) if disables_endpoint(status)] == [410]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", ["retry-after", "Retry-After", "RETRY-AFTER"])
def test_a_busy_receiver_can_ask_for_time(status: int, name: str) -> None:
    headers = [("x-a", "1"), (name, "60"), ("retry-after", "3600")]
    assert time_asked_for(status, headers, now=NOON) == NOON + timedelta(minutes=1)


def test_no_other_status_and_no_other_header_can_ask_for_time() -> None:
    others = [status for status in range(600) if status not in (429, 503)]
    assert {time_asked_for(status, [("retry-after", "60")], now=NOON) for status in others} == {
        None
    }
    assert time_asked_for(503, [("x-retry-after", "60")], now=NOON) is None


def test_an_endpoint_is_disabled_after_five_days_of_failures_only() -> None:
    five_days = timedelta(days=5)
    assert disabled_by_failures(NOON - five_days, now=NOON)
    assert not disabled_by_failures(NOON - five_days + timedelta(microseconds=1), now=NOON)
    assert not disabled_by_failures(None, now=NOON)
    # A clock that was set back.
    assert not disabled_by_failures(NOON + five_days, now=NOON)
