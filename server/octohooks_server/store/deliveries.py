"""Deliveries: messages on their way to endpoints."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from octohooks.v1.delivery_pb2 import (
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    Delivery,
)
from sqlalchemy import (
    and_,
    bindparam,
    case,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Dialect, RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from octohooks_server.errors import NotFound
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import insert_unless_taken, key_pairs, same, texts, within
from octohooks_server.store.messages import MessageFilter
from octohooks_server.store.paging import Page
from octohooks_server.store.tables import (
    deliveries,
    messages,
)

# The IDs of a delivery's environment, message and endpoint. The last two find it; the first one is
# where it is kept, should environments be spread over several nodes.
Key = tuple[str, str, str]

# The delivery with a key that is given as parameters.
BY_KEY = and_(
    deliveries.c.environment_id == bindparam("of_environment"),
    deliveries.c.message_id == bindparam("of_message"),
    deliveries.c.endpoint_id == bindparam("of_endpoint"),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list of deliveries or attempts is about; every ID that is given narrows it."""

    environment_id: str
    application_id: str | None = None
    message_id: str | None = None
    endpoint_id: str | None = None


def select_by_keys(
    dialect: Dialect, keys: Collection[Key] | None, *columns: ColumnElement[Any]
) -> Select[Any]:
    """Columns of the deliveries with these keys, each found by primary key.

    Without `keys`, they are given when it is run: as `message_ids` and `endpoint_ids`, and as
    `environment_ids` those that occur.
    """
    pairs = None if keys is None else [key[1:] for key in keys]
    environment_ids = texts("environment_ids") if keys is None else {key[0] for key in keys}
    # A join, since SQLite looks through the whole table for a row in a list of rows.
    wanted = key_pairs(dialect, "message_id", "endpoint_id", pairs)
    return (
        select(*columns)
        .select_from(
            wanted.join(
                deliveries,
                and_(
                    deliveries.c.message_id == wanted.c.message_id,
                    deliveries.c.endpoint_id == wanted.c.endpoint_id,
                ),
            )
        )
        .where(within(deliveries.c.environment_id, environment_ids))
    )


async def restart(conn: AsyncConnection, *, keys: Collection[Key], now: datetime) -> None:
    """Makes ended deliveries pending from the schedule's start.

    One of which a manual attempt is under way is left to that.
    """
    if keys:
        await conn.execute(
            update(deliveries)
            .where(
                BY_KEY,
                # It may have ended otherwise since the keys were read.
                or_(
                    deliveries.c.status == DELIVERY_STATUS_FAILED,
                    deliveries.c.status == DELIVERY_STATUS_CANCELLED,
                ),
                or_(~deliveries.c.leased, deliveries.c.due_at <= now),
            )
            .values(
                status=DELIVERY_STATUS_PENDING,
                cancel_reason=0,
                scheduled_count=0,
                manual_requests=0,
                scheduled_at=now,
                due_at=now,
                leased=False,
                ended_at=None,
            ),
            [
                {"of_environment": environment, "of_message": message, "of_endpoint": endpoint}
                for environment, message, endpoint in keys
            ],
        )


async def create(
    conn: AsyncConnection,
    *,
    environment_id: str,
    application_id: str,
    endpoint_id: str,
    message_ids: Collection[str],
    now: datetime,
) -> None:
    """Makes deliveries of messages that were accepted earlier, due at once."""
    if message_ids:
        await conn.execute(
            # Another job may have made some of them meanwhile.
            insert_unless_taken(conn, deliveries),
            [
                new_row(
                    environment_id=environment_id,
                    application_id=application_id,
                    endpoint_id=endpoint_id,
                    message_id=message_id,
                    scheduled_at=now,
                    lease_ends_at=None,
                    now=now,
                )
                for message_id in message_ids
            ],
        )


def new_row(
    *,
    environment_id: str,
    application_id: str,
    endpoint_id: str,
    message_id: str,
    scheduled_at: datetime,
    lease_ends_at: datetime | None,
    now: datetime,
) -> dict[str, Any]:
    """The row of a new delivery: claimed until `lease_ends_at`, or waiting when that is None."""
    is_claimed = lease_ends_at is not None
    return {
        "message_id": message_id,
        "endpoint_id": endpoint_id,
        "environment_id": environment_id,
        "application_id": application_id,
        "status": DELIVERY_STATUS_PENDING,
        "cancel_reason": 0,
        "claim": 1 if is_claimed else 0,
        "attempt_count": 0,
        "scheduled_count": 0,
        "manual_requests": 0,
        "scheduled_at": scheduled_at,
        "due_at": lease_ends_at or scheduled_at,
        "leased": is_claimed,
        "last_attempt_at": None,
        "created_at": now,
        "ended_at": None,
    }


async def request_attempt(
    conn: AsyncConnection,
    *,
    environment_id: str,
    message_id: str,
    endpoint_id: str,
    now: datetime,
) -> None:
    """Makes a manual attempt due at once, or right after the one that is under way."""
    under_way = and_(deliveries.c.leased, deliveries.c.due_at > now)
    await conn.execute(
        update(deliveries)
        .where(
            deliveries.c.environment_id == environment_id,
            deliveries.c.message_id == message_id,
            deliveries.c.endpoint_id == endpoint_id,
        )
        .values(
            # Of requests that come while none is under way, one attempt is made.
            manual_requests=case((under_way, deliveries.c.manual_requests + 1), else_=literal(1)),
            due_at=case(
                (under_way, deliveries.c.due_at), else_=literal(now, deliveries.c.due_at.type)
            ),
        )
    )


async def get(
    conn: AsyncConnection, *, environment_id: str, message_id: str, endpoint_id: str
) -> Delivery:
    """The delivery of a message to an endpoint, or NotFound."""
    row = (
        await conn.execute(
            _with_event_type().where(
                deliveries.c.environment_id == environment_id,
                deliveries.c.message_id == message_id,
                deliveries.c.endpoint_id == endpoint_id,
            )
        )
    ).first()
    if row is None:
        raise NotFound("delivery", f"{message_id} {endpoint_id}")
    return _delivery(row._mapping)


async def list_page(
    conn: AsyncConnection,
    *,
    scope: Scope,
    statuses: Sequence[int],
    matching: MessageFilter,
    before: Sequence[str] | None,
    limit: int,
) -> Page[Delivery]:
    """Deliveries, newest message first; the cursor is the last one's message and endpoint IDs."""
    query = _with_event_type().where(messages.c.environment_id == scope.environment_id)
    # With an endpoint, its own index gives the order; without one, the index of the messages does.
    message_id = messages.c.id if scope.endpoint_id is None else deliveries.c.message_id
    if scope.application_id is not None:
        query = query.where(messages.c.application_id == scope.application_id)
    if scope.message_id is not None:
        query = query.where(deliveries.c.message_id == scope.message_id)
    if scope.endpoint_id is not None:
        query = query.where(deliveries.c.endpoint_id == scope.endpoint_id)
    if statuses:
        query = query.where(deliveries.c.status.in_(statuses))
    query = query.where(*matching.conditions())
    if before is not None:
        last_message, last_endpoint = before
        query = query.where(
            message_id <= last_message,
            or_(message_id < last_message, deliveries.c.endpoint_id < last_endpoint),
        )
    rows = (
        (
            await conn.execute(
                query.order_by(message_id.desc(), deliveries.c.endpoint_id.desc()).limit(limit + 1)
            )
        )
        .mappings()
        .all()
    )
    shown = rows[:limit]
    last = [shown[-1]["message_id"], shown[-1]["endpoint_id"]] if len(rows) > limit else None
    return Page([_delivery(row) for row in shown], last)


def _with_event_type() -> Select[Any]:
    return select(deliveries, messages.c.event_type).join(
        messages,
        and_(
            same(messages.c.environment_id, deliveries.c.environment_id),
            messages.c.id == deliveries.c.message_id,
        ),
    )


def _delivery(row: RowMapping) -> Delivery:
    return to_delivery(row, event_type=row["event_type"])


def to_delivery(row: RowMapping, *, event_type: str) -> Delivery:
    """The entity of a row of the `deliveries` table."""
    return Delivery(
        message=row["message_id"],
        endpoint=row["endpoint_id"],
        application=row["application_id"],
        event_type=event_type,
        status=row["status"],
        cancel_reason=row["cancel_reason"],
        attempt_count=row["attempt_count"],
        next_attempt_time=values.timestamp(row["due_at"]),
        last_attempt_time=values.timestamp(row["last_attempt_at"]),
        create_time=values.timestamp(row["created_at"]),
        end_time=values.timestamp(row["ended_at"]),
    )
