"""Outcomes of attempts: an attempt and all that follows from it become durable together."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_SUCCEEDED,
    ATTEMPT_TRIGGER_MANUAL,
    ATTEMPT_TRIGGER_SCHEDULED,
)
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_FAILING, DISABLE_REASON_GONE, DisableReason
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.ids import ATTEMPT, IdFactory
from octohooks_server.rules.outcome import FAILING_AT_FAILURE, disabled_by_failures
from octohooks_server.store import endpoints, environments, retirement
from octohooks_server.store.database import (
    InsertRows,
    Prepared,
    Row,
    UpdateRows,
    among,
    run_together,
    texts,
    within,
)
from octohooks_server.store.deliveries import select_by_keys
from octohooks_server.store.due import Outcome
from octohooks_server.store.operational import (
    ATTEMPT_EXHAUSTED,
    ATTEMPT_FAILING,
    ATTEMPT_RECOVERED,
    ENDPOINT_DISABLED,
    Notice,
    disable_reason_name,
    notify,
)
from octohooks_server.store.tables import applications, attempts, deliveries, messages
from octohooks_server.store.tables import endpoints as endpoint_table


class Recorded(NamedTuple):
    """What the recording of one outcome led to."""

    # False when a newer claim exists: the outcome came too late and changed nothing.
    applied: bool
    status: int = 0
    # When the delivery's next attempt is due; None when none is to follow.
    next_due_at: datetime | None = None
    environment_id: str = ""
    endpoint_id: str = ""
    # Whether it was worth an operational message, which is due now.
    notified: bool = False
    # Whether it ended the delivery, which had been pending.
    ended: bool = False
    # Why it disabled the endpoint, a DisableReason; 0 when it did not.
    disabled_for: int = 0


@dataclass(slots=True)
class _EndpointState:
    """An endpoint while the outcomes of a group are applied to it one after another."""

    environment_id: str
    uid: str
    disabled: bool
    deleted: bool
    application_deleted: bool
    failing_since: datetime | None
    was_failing_since: datetime | None
    disabled_for: DisableReason.ValueType = DisableReason.DISABLE_REASON_UNSPECIFIED


@dataclass(slots=True)
class _Changes:
    attempts: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


async def record_outcomes(
    conn: AsyncConnection, outcomes: Sequence[Outcome], *, now: datetime, ids: IdFactory
) -> list[Recorded]:
    """Records attempts, moves their deliveries on, and disables endpoints where the rules say so.

    An outcome counts only while its claim is the newest one of its delivery. `now` is the time of
    the recording; the order of the events is the order of `outcomes` within an environment.
    """
    environment_ids = list({one.delivery.destination.environment_id for one in outcomes})
    # Whoever disables or deletes an endpoint takes the endpoint first, then its deliveries.
    states = await _endpoint_states(conn, outcomes, environment_ids)
    current = await _current_rows(conn, outcomes, environment_ids)
    fresh = [outcome for outcome in outcomes if _is_current(outcome, current)]
    numbers = await _take_numbers(conn, fresh, now)
    changes = _Changes()
    results: dict[int, Recorded] = {}
    for outcome in fresh:
        row = current[_key(outcome)]
        state = states[outcome.delivery.destination.endpoint_id]
        results[id(outcome)] = _apply(outcome, row, state, now, ids, numbers, changes)
    await _drop_bodies_without_payload(conn, changes.attempts, environment_ids)
    await run_together(
        conn, (_INSERT_ATTEMPTS, changes.attempts), (_UPDATE_DELIVERIES, changes.deliveries)
    )
    await _store_endpoint_states(conn, states, now=now)
    await notify(conn, changes.notices, now=now, ids=ids)
    return [results.get(id(outcome), Recorded(applied=False)) for outcome in outcomes]


def _apply(
    outcome: Outcome,
    row: Row,
    state: _EndpointState,
    now: datetime,
    ids: IdFactory,
    numbers: Mapping[str, "_Numbers"],
    changes: _Changes,
) -> Recorded:
    delivery = outcome.delivery
    notices_before = len(changes.notices)
    is_disabled_now = _observe(state, outcome, now)
    status, scheduled_at = _status_after(outcome, row, state)
    # A manual attempt that was asked for while a scheduled one was under way comes right after it.
    requests = row["manual_requests"] - (1 if delivery.manual else 0)
    due_at = now if requests > 0 else scheduled_at
    if state.disabled or state.deleted:
        requests, due_at = 0, None
    pending = status == DELIVERY_STATUS_PENDING
    environment_id = delivery.destination.environment_id
    changes.deliveries.append(
        {
            "environment_id": environment_id,
            "message_id": delivery.message_id,
            "endpoint_id": delivery.destination.endpoint_id,
            "status": status,
            "cancel_reason": _cancel_reason(state) if status == DELIVERY_STATUS_CANCELLED else 0,
            "attempt_count": delivery.attempt_count + 1,
            "scheduled_count": delivery.scheduled_count + (0 if delivery.manual else 1),
            "manual_requests": requests,
            "scheduled_at": scheduled_at,
            "due_at": due_at,
            "leased": False,
            "last_attempt_at": outcome.started_at,
            "ended_at": None if pending else _ended_at(row, status, now),
        }
    )
    attempt = _attempt_row(outcome, ids, numbers[environment_id], status, due_at)
    changes.attempts.append(attempt)
    changes.notices.extend(_notices(attempt, row["status"]))
    if is_disabled_now:
        data = {
            "endpoint": delivery.destination.endpoint_id,
            "endpoint_uid": state.uid,
            "reason": disable_reason_name(state.disabled_for),
        }
        changes.notices.append(_notice(attempt, ENDPOINT_DISABLED, data))
    return Recorded(
        applied=True,
        status=status,
        next_due_at=due_at,
        environment_id=environment_id,
        endpoint_id=delivery.destination.endpoint_id,
        notified=len(changes.notices) > notices_before,
        ended=row["status"] == DELIVERY_STATUS_PENDING and not pending,
        disabled_for=state.disabled_for if is_disabled_now else 0,
    )


def _status_after(outcome: Outcome, row: Row, state: _EndpointState) -> tuple[int, datetime | None]:
    """How the delivery stands after the outcome, and when its schedule goes on."""
    if outcome.succeeded:
        return DELIVERY_STATUS_SUCCEEDED, None
    if row["status"] != DELIVERY_STATUS_PENDING:
        return row["status"], None
    if state.disabled or state.deleted:
        return DELIVERY_STATUS_CANCELLED, None
    if outcome.delivery.manual:
        return DELIVERY_STATUS_PENDING, row["scheduled_at"]
    if outcome.retry_at is None:
        return DELIVERY_STATUS_FAILED, None
    return DELIVERY_STATUS_PENDING, outcome.retry_at


def _ended_at(row: Row, status: int, now: datetime) -> datetime:
    """A delivery that ends as it had ended before keeps the time of its end."""
    return row["ended_at"] if status == row["status"] and row["ended_at"] else now


def _notices(attempt: Mapping[str, Any], status_before: int) -> Iterator[Notice]:
    """What the attempt is worth telling the environment's owner."""
    if attempt["outcome"] == ATTEMPT_OUTCOME_SUCCEEDED:
        if attempt["number"] > FAILING_AT_FAILURE and status_before != DELIVERY_STATUS_SUCCEEDED:
            yield _notice(attempt, ATTEMPT_RECOVERED, _facts(attempt))
        return
    if attempt["number"] == FAILING_AT_FAILURE:
        yield _notice(attempt, ATTEMPT_FAILING, _facts(attempt))
    if (
        attempt["delivery_status"] == DELIVERY_STATUS_FAILED
        and status_before == DELIVERY_STATUS_PENDING
    ):
        yield _notice(attempt, ATTEMPT_EXHAUSTED, _facts(attempt))


def _facts(attempt: Mapping[str, Any]) -> Mapping[str, str | int]:
    return {
        "endpoint": attempt["endpoint_id"],
        "message": attempt["message_id"],
        "event_type": attempt["event_type"],
        "attempt": attempt["id"],
        "attempt_number": attempt["number"],
        "response_status": attempt["response_status"],
    }


def _notice(attempt: Mapping[str, Any], event_type: str, data: Mapping[str, str | int]) -> Notice:
    return Notice(attempt["environment_id"], attempt["application_id"], event_type, data)


def _observe(state: _EndpointState, outcome: Outcome, now: datetime) -> bool:
    """Applies the outcome to its endpoint; answers whether that disabled it."""
    if outcome.succeeded:
        state.failing_since = None
        return False
    if state.failing_since is None:
        state.failing_since = now
    if state.disabled or state.deleted:
        return False
    if outcome.endpoint_gone:
        state.disabled_for = DISABLE_REASON_GONE
    elif disabled_by_failures(state.failing_since, now=now):
        state.disabled_for = DISABLE_REASON_FAILING
    state.disabled = state.disabled_for != DisableReason.DISABLE_REASON_UNSPECIFIED
    return state.disabled


def _cancel_reason(state: _EndpointState) -> int:
    if state.application_deleted:
        return CANCEL_REASON_APPLICATION_DELETED
    if state.deleted:
        return CANCEL_REASON_ENDPOINT_DELETED
    return CANCEL_REASON_ENDPOINT_DISABLED


def _attempt_row(
    outcome: Outcome,
    ids: IdFactory,
    numbers: "_Numbers",
    status: int,
    due_at: datetime | None,
) -> dict[str, Any]:
    delivery = outcome.delivery
    destination = delivery.destination
    return {
        "id": ids.new(ATTEMPT),
        "environment_id": destination.environment_id,
        "sequence": numbers.take(),
        "application_id": destination.application_id,
        "endpoint_id": destination.endpoint_id,
        "message_id": delivery.message_id,
        "event_type": delivery.event_type,
        "number": delivery.attempt_count + 1,
        "trigger": ATTEMPT_TRIGGER_MANUAL if delivery.manual else ATTEMPT_TRIGGER_SCHEDULED,
        "url": destination.url,
        "started_at": outcome.started_at,
        "recorded_at": numbers.recorded_at,
        "duration": outcome.duration,
        "outcome": ATTEMPT_OUTCOME_SUCCEEDED if outcome.succeeded else ATTEMPT_OUTCOME_FAILED,
        "response_status": outcome.response_status,
        "error_kind": outcome.error_kind,
        "error_detail": outcome.error_detail,
        "response_body_truncated": outcome.response_body_truncated,
        "delivery_status": status,
        "next_attempt_at": due_at,
        "response_headers": outcome.response_headers,
        "response_body": outcome.response_body or None,
    }


def _key(outcome: Outcome) -> tuple[str, str]:
    return outcome.delivery.message_id, outcome.delivery.destination.endpoint_id


def _is_current(outcome: Outcome, rows: Mapping[tuple[str, str], Row]) -> bool:
    row = rows.get(_key(outcome))
    return row is not None and row["claim"] == outcome.delivery.claim and row["leased"]


async def _drop_bodies_without_payload(
    conn: AsyncConnection, rows: Sequence[dict[str, Any]], environment_ids: Sequence[str]
) -> None:
    """What a receiver answered goes with the payload, also when it answered after the deletion."""
    with_body = [row for row in rows if row["response_body"]]
    if not with_body:
        return
    found = await _WITHOUT_PAYLOAD.tuples(
        conn, environment_ids=environment_ids, ids=list({row["message_id"] for row in with_body})
    )
    gone = {id for (id,) in found}
    for row in with_body:
        if row["message_id"] in gone:
            row["response_body"] = None


async def _current_rows(
    conn: AsyncConnection, outcomes: Sequence[Outcome], environment_ids: Sequence[str]
) -> dict[tuple[str, str], Row]:
    keys = [_key(outcome) for outcome in outcomes]
    rows = await _CURRENT_ROWS.rows(
        conn,
        environment_ids=environment_ids,
        message_ids=[key[0] for key in keys],
        endpoint_ids=[key[1] for key in keys],
    )
    return {(row["message_id"], row["endpoint_id"]): row for row in rows}


async def _endpoint_states(
    conn: AsyncConnection, outcomes: Sequence[Outcome], environment_ids: Sequence[str]
) -> dict[str, _EndpointState]:
    ids = {one.delivery.destination.endpoint_id for one in outcomes}
    return {
        row["id"]: _EndpointState(
            row["environment_id"],
            row["uid"] or "",
            row["disabled"],
            row["deleted_at"] is not None,
            row["application_deleted_at"] is not None,
            row["failing_since"],
            row["failing_since"],
        )
        for row in await _ENDPOINT_STATES.rows(conn, environment_ids=environment_ids, ids=list(ids))
    }


async def _store_endpoint_states(
    conn: AsyncConnection, states: Mapping[str, _EndpointState], *, now: datetime
) -> None:
    recovered: dict[str, str] = {}
    for id, state in states.items():
        environment_id = state.environment_id
        if state.failing_since is None and state.was_failing_since is not None:
            recovered[id] = environment_id
        elif state.failing_since != state.was_failing_since:
            await endpoints.set_failing_since(
                conn, environment_ids={environment_id}, ids=[id], since=state.failing_since
            )
        if state.disabled_for:
            await endpoints.disable(
                conn, environment_id=environment_id, id=id, reason=state.disabled_for, now=now
            )
            # Not now: whoever takes deliveries does so before it takes an environment's numbers.
            await retirement.retire_later(
                conn,
                environment_id=environment_id,
                endpoint_ids=[id],
                reason=CANCEL_REASON_ENDPOINT_DISABLED,
            )
    if recovered:
        await endpoints.set_failing_since(
            conn, environment_ids=set(recovered.values()), ids=recovered, since=None
        )


@dataclass(slots=True)
class _Numbers:
    """The event numbers that are reserved in one environment."""

    next: int
    recorded_at: datetime

    def take(self) -> int:
        """The next of them."""
        number = self.next
        self.next += 1
        return number


async def _take_numbers(
    conn: AsyncConnection, outcomes: Sequence[Outcome], now: datetime
) -> dict[str, _Numbers]:
    """An event number for each outcome; environments are taken in one order by all."""
    counts = Counter(outcome.delivery.destination.environment_id for outcome in outcomes)
    return {
        id: _Numbers(
            *await environments.take_sequences(conn, environment_id=id, count=counts[id], now=now)
        )
        for id in sorted(counts)
    }


# Both read in the order that all transactions keep, lest they deadlock.
_CURRENT_ROWS = Prepared(
    lambda dialect: (
        select_by_keys(
            dialect,
            None,
            deliveries.c.message_id,
            deliveries.c.endpoint_id,
            deliveries.c.claim,
            deliveries.c.leased,
            deliveries.c.status,
            deliveries.c.manual_requests,
            deliveries.c.scheduled_at,
            deliveries.c.ended_at,
        )
        .order_by(deliveries.c.message_id, deliveries.c.endpoint_id)
        .with_for_update(of=deliveries)
    )
)
_ENDPOINT_STATES = Prepared(
    endpoints.select_by_ids(
        endpoint_table.c.id,
        endpoint_table.c.environment_id,
        endpoint_table.c.uid,
        endpoint_table.c.disabled,
        endpoint_table.c.deleted_at,
        endpoint_table.c.failing_since,
        applications.c.deleted_at.label("application_deleted_at"),
    )
    .order_by(endpoint_table.c.id)
    .with_for_update(of=endpoint_table)
)
_WITHOUT_PAYLOAD = Prepared(
    select(messages.c.id).where(
        within(messages.c.environment_id, texts("environment_ids")),
        among(messages.c.id, texts("ids")),
        messages.c.payload.is_(None),
    )
)
_INSERT_ATTEMPTS = InsertRows(attempts)
_UPDATE_DELIVERIES = UpdateRows(
    deliveries,
    within="environment_id",
    keys=("message_id", "endpoint_id"),
    changes=(
        "status",
        "cancel_reason",
        "attempt_count",
        "scheduled_count",
        "manual_requests",
        "scheduled_at",
        "due_at",
        "leased",
        "last_attempt_at",
        "ended_at",
    ),
)
