"""Cancelling: deliveries that end without an attempt, and the events that say so."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_CANCELLED, DELIVERY_STATUS_PENDING
from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import environments
from octohooks_server.store.database import Row, among, within
from octohooks_server.store.deliveries import BY_KEY, select_by_keys
from octohooks_server.store.tables import cancellations, deliveries, messages


async def cancel_pending(
    conn: AsyncConnection,
    *,
    environment_id: str,
    reason: int,
    now: datetime,
    limit: int,
    endpoint_id: str | None = None,
    message_id: str | None = None,
) -> int:
    """Cancels up to `limit` pending deliveries of an endpoint or a message, and says how many.

    One that is being attempted at this moment is left to its outcome, which ends it.
    """
    of = (
        deliveries.c.endpoint_id == endpoint_id
        if endpoint_id is not None
        else deliveries.c.message_id == message_id
    )
    found = await conn.execute(
        select(deliveries.c.message_id, deliveries.c.endpoint_id)
        .where(
            deliveries.c.environment_id == environment_id,
            of,
            deliveries.c.due_at.is_not(None),
            or_(~deliveries.c.leased, deliveries.c.due_at <= now),
        )
        .limit(limit)
    )
    keys = [(environment_id, row.message_id, row.endpoint_id) for row in found]
    if not keys:
        return 0
    rows = (
        (
            await conn.execute(
                select_by_keys(conn.dialect, keys, *deliveries.c)
                # In the order that all transactions keep, lest they deadlock.
                .order_by(deliveries.c.message_id, deliveries.c.endpoint_id)
                .with_for_update(of=deliveries)
            )
        )
        .mappings()
        .all()
    )
    # They were chosen before they were held.
    waiting: list[Row] = [
        row for row in rows if row["due_at"] and (not row["leased"] or row["due_at"] <= now)
    ]
    await cancel_rows(conn, {reason: waiting}, now=now)
    return len(keys)


async def cancel_rows(
    conn: AsyncConnection, rows: Mapping[int, Sequence[Row]], *, now: datetime
) -> set[str]:
    """Ends deliveries, by the reason, without an attempt; those that were pending become events.

    One that had ended already and only waited for a manual attempt loses that and stays as it is.
    Their rows are held by this transaction. Answers the environments that have new events.
    """
    pending: list[tuple[int, Row]] = []
    ended: list[Row] = []
    for reason, of_reason in rows.items():
        for row in of_reason:
            if row["status"] == DELIVERY_STATUS_PENDING:
                pending.append((reason, row))
            else:
                ended.append(row)
    if ended:
        await conn.execute(
            update(deliveries).where(BY_KEY).values(manual_requests=0, leased=False, due_at=None),
            [_key(row) for row in ended],
        )
    if not pending:
        return set()
    for reason in {reason for reason, _ in pending}:
        await conn.execute(
            update(deliveries)
            .where(BY_KEY)
            .values(
                status=DELIVERY_STATUS_CANCELLED,
                cancel_reason=reason,
                manual_requests=0,
                leased=False,
                due_at=None,
                scheduled_at=None,
                ended_at=now,
            ),
            [_key(row) for of, row in pending if of == reason],
        )
    return await _add_events(conn, pending, now)


async def _add_events(
    conn: AsyncConnection, cancelled: Sequence[tuple[int, Row]], now: datetime
) -> set[str]:
    """Adds an event for each cancelled delivery; answers the environments."""
    by_environment: dict[str, list[tuple[int, Row]]] = {}
    for reason, row in cancelled:
        by_environment.setdefault(row["environment_id"], []).append((reason, row))
    event_types = {
        row.id: row.event_type
        for row in await conn.execute(
            select(messages.c.id, messages.c.event_type).where(
                within(messages.c.environment_id, by_environment),
                among(messages.c.id, {row["message_id"] for _, row in cancelled}),
            )
        )
    }
    # In the order that all transactions keep, lest they deadlock.
    for environment_id in sorted(by_environment):
        of_environment = by_environment[environment_id]
        first, recorded_at = await environments.take_sequences(
            conn, environment_id=environment_id, count=len(of_environment), now=now
        )
        await conn.execute(
            insert(cancellations),
            [
                {
                    "environment_id": environment_id,
                    "sequence": first + index,
                    "application_id": row["application_id"],
                    "endpoint_id": row["endpoint_id"],
                    "message_id": row["message_id"],
                    "event_type": event_types[row["message_id"]],
                    "reason": reason,
                    "attempt_count": row["attempt_count"],
                    "last_attempt_at": row["last_attempt_at"],
                    "created_at": row["created_at"],
                    "recorded_at": recorded_at,
                }
                for index, (reason, row) in enumerate(of_environment)
            ],
        )
    return set(by_environment)


def _key(row: Row) -> dict[str, Any]:
    return {
        "of_environment": row["environment_id"],
        "of_message": row["message_id"],
        "of_endpoint": row["endpoint_id"],
    }
