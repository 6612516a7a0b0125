"""Attempts: lists of them, and the log of events that watches read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_SUCCEEDED,
    Attempt,
    ResponseHeader,
)
from octohooks.v1.attempt_service_pb2 import (
    ATTEMPT_EVENT_KIND_CANCELLED,
    ATTEMPT_EVENT_KIND_FAILED,
    ATTEMPT_EVENT_KIND_SUCCEEDED,
    AttemptEvent,
)
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_CANCELLED, Delivery
from sqlalchemy import and_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from octohooks_server.errors import NotFound
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import same
from octohooks_server.store.deliveries import Scope
from octohooks_server.store.messages import MessageFilter
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import attempts, cancellations, messages

_CONTENT = ("response_headers", "response_body")
_WITHOUT_CONTENT = [column for column in attempts.c if column.name not in _CONTENT]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a watch is about; what is empty filters nothing."""

    scope: Scope
    event_types: frozenset[str] = frozenset()
    # Values of octohooks.v1.AttemptEventKind.
    kinds: frozenset[int] = frozenset()

    def wants(self, event: "Event") -> bool:
        """Whether the event belongs to the watch."""
        scope = self.scope
        return (
            (scope.application_id is None or scope.application_id == event.application_id)
            and (scope.endpoint_id is None or scope.endpoint_id == event.endpoint_id)
            and (scope.message_id is None or scope.message_id == event.message_id)
            and (not self.event_types or event.event_type in self.event_types)
            and (not self.kinds or event.kind in self.kinds)
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of an environment's log, with what a filter looks at."""

    sequence: int
    kind: int
    application_id: str
    endpoint_id: str
    message_id: str
    event_type: str
    event: AttemptEvent
    # Of the event on the wire, in bytes.
    size: int


async def get(conn: AsyncConnection, *, environment_id: str, id: str) -> Attempt:
    """One attempt with its response headers and body, or NotFound."""
    row = (
        await conn.execute(
            select(attempts).where(attempts.c.id == id, attempts.c.environment_id == environment_id)
        )
    ).first()
    if row is None:
        raise NotFound("attempt", id)
    return _attempt(row._mapping)


async def list_page(
    conn: AsyncConnection,
    *,
    scope: Scope,
    outcomes: Sequence[int],
    matching: MessageFilter,
    before: int | None,
    limit: int,
) -> Page[Attempt]:
    """Attempts, newest first, without response headers and bodies.

    Of `matching`, the times are those at which attempts started.
    """
    query = _in_scope(select(*_WITHOUT_CONTENT), scope)
    if outcomes:
        query = query.where(attempts.c.outcome.in_(outcomes))
    if matching.event_types:
        query = query.where(attempts.c.event_type.in_(matching.event_types))
    if matching.channels or matching.tags:
        of_message = and_(
            same(messages.c.environment_id, attempts.c.environment_id),
            messages.c.id == attempts.c.message_id,
        )
        query = query.join(messages, of_message).where(*matching.content_conditions())
    if matching.after is not None:
        query = query.where(attempts.c.started_at >= matching.after)
    if matching.before is not None:
        query = query.where(attempts.c.started_at < matching.before)
    if before is not None:
        query = query.where(attempts.c.sequence < before)
    rows = await conn.execute(query.order_by(attempts.c.sequence.desc()).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["sequence"], _attempt)


async def read_events(
    conn: AsyncConnection, *, environment_id: str, after: int, limit: int
) -> list[Event]:
    """The next events of an environment behind event number `after`, at most `limit`, in order."""
    attempt_rows = await conn.execute(
        select(*_WITHOUT_CONTENT)
        .where(attempts.c.environment_id == environment_id, attempts.c.sequence > after)
        .order_by(attempts.c.sequence)
        .limit(limit)
    )
    cancellation_rows = await conn.execute(
        select(cancellations)
        .where(cancellations.c.environment_id == environment_id, cancellations.c.sequence > after)
        .order_by(cancellations.c.sequence)
        .limit(limit)
    )
    events = [_attempt_event(row) for row in attempt_rows.mappings()]
    events += [_cancellation_event(row) for row in cancellation_rows.mappings()]
    events.sort(key=lambda event: event.sequence)
    return events[:limit]


async def position_before(
    conn: AsyncConnection, *, environment_id: str, time: datetime, oldest: int, newest: int
) -> int:
    """The event number behind which the first event recorded at `time` or later comes.

    It is looked for behind event number `oldest`. Event numbers and times rise together, so it is
    found by halving the log.
    """
    low, high = oldest, newest
    while low < high:
        middle = (low + high) // 2
        found = await _first_recorded(conn, environment_id, behind=middle)
        if found is None or found[1] >= time:
            high = middle
        else:
            low = found[0]
    return low


async def _first_recorded(
    conn: AsyncConnection, environment_id: str, *, behind: int
) -> tuple[int, datetime] | None:
    """The number of the first event behind a number, and when it was recorded."""
    found: list[tuple[int, datetime]] = []
    for table in (attempts, cancellations):
        row = (
            await conn.execute(
                select(table.c.sequence, table.c.recorded_at)
                .where(table.c.environment_id == environment_id, table.c.sequence > behind)
                .order_by(table.c.sequence)
                .limit(1)
            )
        ).first()
        if row is not None:
            found.append((row.sequence, row.recorded_at))
    return min(found, default=None)


def _in_scope(query: Select[Any], scope: Scope) -> Select[Any]:
    """Narrows by the most telling ID first; each has an index that ends in the sequence."""
    query = query.where(attempts.c.environment_id == scope.environment_id)
    if scope.application_id is not None:
        query = query.where(attempts.c.application_id == scope.application_id)
    if scope.endpoint_id is not None:
        query = query.where(attempts.c.endpoint_id == scope.endpoint_id)
    if scope.message_id is not None:
        query = query.where(attempts.c.message_id == scope.message_id)
    return query


def _attempt_event(row: RowMapping) -> Event:
    kind = {
        ATTEMPT_OUTCOME_SUCCEEDED: ATTEMPT_EVENT_KIND_SUCCEEDED,
        ATTEMPT_OUTCOME_FAILED: ATTEMPT_EVENT_KIND_FAILED,
    }[row["outcome"]]
    return _event(row, kind, AttemptEvent(attempt=_attempt(row)))


def _cancellation_event(row: RowMapping) -> Event:
    delivery = Delivery(
        message=row["message_id"],
        endpoint=row["endpoint_id"],
        application=row["application_id"],
        event_type=row["event_type"],
        status=DELIVERY_STATUS_CANCELLED,
        cancel_reason=row["reason"],
        attempt_count=row["attempt_count"],
        last_attempt_time=values.timestamp(row["last_attempt_at"]),
        create_time=values.timestamp(row["created_at"]),
        end_time=values.timestamp(row["recorded_at"]),
    )
    return _event(row, ATTEMPT_EVENT_KIND_CANCELLED, AttemptEvent(cancelled_delivery=delivery))


def _event(row: RowMapping, kind: int, event: AttemptEvent) -> Event:
    return Event(
        sequence=row["sequence"],
        kind=kind,
        application_id=row["application_id"],
        endpoint_id=row["endpoint_id"],
        message_id=row["message_id"],
        event_type=row["event_type"],
        event=event,
        size=event.ByteSize(),
    )


def _attempt(row: RowMapping) -> Attempt:
    """The entity of a row; with its content when the row holds those columns."""
    return Attempt(
        id=row["id"],
        message=row["message_id"],
        endpoint=row["endpoint_id"],
        application=row["application_id"],
        event_type=row["event_type"],
        number=row["number"],
        trigger=row["trigger"],
        url=row["url"],
        start_time=values.timestamp(row["started_at"]),
        duration=values.duration(row["duration"]),
        outcome=row["outcome"],
        response_status=row["response_status"],
        error_kind=row["error_kind"],
        error_detail=row["error_detail"],
        response_headers=[
            ResponseHeader(name=name, value=value)
            for name, value in row.get("response_headers") or ()
        ],
        response_body=row.get("response_body") or b"",
        response_body_truncated=row["response_body_truncated"],
        delivery_status=row["delivery_status"],
        next_attempt_time=values.timestamp(row["next_attempt_at"]),
    )
