"""The simulator is worth its time only if it finds bugs; so some are planted, and it has to."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from octohooks_server.delivery import judge, lanes
from octohooks_server.delivery import loop as delivery_loop
from octohooks_server.rules import schedule
from octohooks_server.rules.schedule import Schedule
from octohooks_server.store import outcomes
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.outcomes import Recorded
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.simulation import plan, simulation
from tests.simulation.plan import Plan

# Seconds: they say how busy the machine is, and nothing of the server.
pytestmark = pytest.mark.timeout(300)

_MOST_SEEDS = 40


_FAULTLESS: dict[str, Any] = {
    "crashes": 0,
    "pauses": 0,
    "restarts": 0,
    "outages": 0,
    "clock_jumps": 0,
    "error_rate": 0.0,
}


def first_violation(monkeypatch: pytest.MonkeyPatch, **of_plan: Any) -> str:
    """What the first seed that finds something finds; fails when none does.

    `of_plan` narrows the seeds' plans to those in which the bug can show.
    """
    plan_of = plan.plan_of
    monkeypatch.setattr(plan, "plan_of", lambda draw: replace(plan_of(draw), **of_plan))
    for seed in range(_MOST_SEEDS):
        report = simulation.simulate(seed)
        if report.violations:
            return "\n".join(report.violations)
    pytest.fail(f"{_MOST_SEEDS} seeds found nothing")


def test_a_dropped_outcome_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fifth outcome is taken for recorded and is not."""
    record = outcomes.record_outcomes
    count = 0

    async def forgetful(
        conn: AsyncConnection, given: Sequence[Outcome], **others: Any
    ) -> list[Recorded]:
        nonlocal count
        count += 1
        if count % 5 == 0:
            return [Recorded(applied=True) for _ in given]
        return await record(conn, given, **others)

    monkeypatch.setattr(outcomes, "record_outcomes", forgetful)
    assert "is no attempt" in first_violation(monkeypatch)


def test_a_lease_shorter_than_the_timeout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is it refused, nor is the claim's end looked at before an attempt."""
    plan_of = plan.plan_of

    def short(draw: Any) -> Plan:
        made = plan_of(draw)
        lease = made.bounds.request_timeout * 0.5
        return replace(made, bounds=replace(made.bounds, lease=lease))

    hand_over = delivery_loop.DeliveryLoop.hand_over

    def heedless(self: delivery_loop.DeliveryLoop, claimed: Sequence[DueDelivery]) -> None:
        far = datetime.max.replace(tzinfo=UTC)
        hand_over(self, [one._replace(lease_ends_at=far) for one in claimed])

    monkeypatch.setattr(plan, "plan_of", short)
    monkeypatch.setattr(delivery_loop.DeliveryLoop, "hand_over", heedless)
    assert "was made" in first_violation(monkeypatch)


def test_a_missing_fence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outcome is recorded although another claim has been made since."""

    def is_known(outcome: Outcome, rows: Any) -> bool:
        return outcomes._key(outcome) in rows

    monkeypatch.setattr(outcomes, "_is_current", is_known)
    found = first_violation(monkeypatch, **{**_FAULTLESS, "servers": 2, "pauses": 2})
    assert "attempts are numbered" in found


def test_a_retry_before_its_time_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is shortened by a fifth more than the jitter may."""
    right = schedule.next_attempt_time

    def hasty(steps: Schedule, *, failed_at: datetime, **others: Any) -> datetime | None:
        due_at = right(steps, failed_at=failed_at, **others)
        return None if due_at is None else failed_at + (due_at - failed_at) * 0.7

    monkeypatch.setattr(judge, "next_attempt_time", hasty)
    assert "early" in first_violation(monkeypatch)


def test_a_lost_hand_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is claimed when a message is accepted waits for the claim's end."""
    hand_over = delivery_loop.DeliveryLoop.hand_over
    count = 0

    def careless(self: delivery_loop.DeliveryLoop, claimed: Sequence[DueDelivery]) -> None:
        nonlocal count
        count += bool(claimed)
        if not claimed or count % 3:
            hand_over(self, claimed)

    monkeypatch.setattr(delivery_loop.DeliveryLoop, "hand_over", careless)
    assert "nothing was in its way" in first_violation(monkeypatch, **_FAULTLESS)


def test_what_is_taken_over_and_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other servers left waits for the claim's end although somebody has taken it."""
    take_over = delivery_loop.DeliveryLoop.take_over
    count = 0

    def careless(
        self: delivery_loop.DeliveryLoop, claimed: Collection[DueDelivery]
    ) -> Collection[str]:
        nonlocal count
        count += bool(claimed)
        return () if claimed and count % 3 == 0 else take_over(self, claimed)

    monkeypatch.setattr(delivery_loop.DeliveryLoop, "take_over", careless)
    found = first_violation(monkeypatch, **_FAULTLESS, hands_over=True)
    assert "nothing was in its way" in found


def test_an_attempt_after_the_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery that succeeded is retried all the same."""
    status_after = outcomes._status_after

    def restless(outcome: Outcome, row: Any, state: Any) -> tuple[int, datetime | None]:
        status, due_at = status_after(outcome, row, state)
        return status, outcome.started_at + outcome.duration if outcome.succeeded else due_at

    monkeypatch.setattr(outcomes, "_status_after", restless)
    assert "follows the delivery's end" in first_violation(monkeypatch)


def test_events_numbered_with_a_hole_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group of outcomes leaves out the number that would have been its first."""
    take_numbers = outcomes._take_numbers

    async def wasteful(conn: AsyncConnection, given: Sequence[Outcome], now: datetime) -> Any:
        taken = await take_numbers(conn, given, now)
        for numbers in taken.values():
            numbers.next += 1
        return taken

    monkeypatch.setattr(outcomes, "_take_numbers", wasteful)
    assert "are numbered" in first_violation(monkeypatch)


def test_an_unbounded_endpoint_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of an endpoint is looked at by nobody."""

    def line_up(self: Any, endpoint_id: str, lane: Any) -> None:
        if lane.waiting and not lane.in_row and lane.timer is None:
            lane.in_row = True
            self._row.append(endpoint_id)

    monkeypatch.setattr(lanes.Lanes, "_line_up", line_up)
    assert "under way to one endpoint" in first_violation(monkeypatch)


def test_a_manual_attempt_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resend that is asked for while an attempt is under way is not made afterwards."""
    apply = outcomes._apply

    def forgetful(outcome: Outcome, row: Any, *others: Any) -> Recorded:
        requests = 1 if outcome.delivery.manual else 0
        return apply(outcome, {**row, "manual_requests": requests}, *others)

    monkeypatch.setattr(outcomes, "_apply", forgetful)
    assert "resend promised" in first_violation(monkeypatch, resends=6)
