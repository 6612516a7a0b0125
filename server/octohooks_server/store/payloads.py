"""Payloads come to an end: when their time is over, or when a caller asks for it."""

from collections.abc import Sequence
from datetime import datetime

from octohooks.v1.delivery_pb2 import CANCEL_REASON_PAYLOAD_DELETED
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import cancelling
from octohooks_server.store.database import among
from octohooks_server.store.tables import attempts, messages
from octohooks_server.store.tables import deliveries as delivery_table

# More endpoints than a message can have in practice.
_MOST_ENDPOINTS = 100_000


async def delete_on_request(
    conn: AsyncConnection, *, environment_id: str, message_id: str, now: datetime
) -> Sequence[str]:
    """Deletes a payload and what receivers answered to it, and cancels what is pending.

    Answers the IDs of the endpoints that it was on its way to. Repeating it changes nothing.
    """
    waiting = await conn.execute(
        select(delivery_table.c.endpoint_id).where(
            delivery_table.c.message_id == message_id, delivery_table.c.due_at.is_not(None)
        )
    )
    endpoint_ids = waiting.scalars().all()
    still_there = await conn.scalar(
        select(messages.c.id).where(messages.c.id == message_id, messages.c.payload.is_not(None))
    )
    if still_there is not None:
        await _delete(conn, [message_id])
        await conn.execute(
            update(messages).where(messages.c.id == message_id).values(payload_expires_at=now)
        )
    await cancelling.cancel_pending(
        conn,
        environment_id=environment_id,
        message_id=message_id,
        reason=CANCEL_REASON_PAYLOAD_DELETED,
        now=now,
        limit=_MOST_ENDPOINTS,
    )
    return endpoint_ids


async def delete_expired(conn: AsyncConnection, *, now: datetime, limit: int) -> int:
    """Deletes at most `limit` payloads whose time is over, and says how many.

    A delivery that still waits is cancelled when it falls due.
    """
    expired = await conn.execute(
        select(messages.c.id)
        .where(messages.c.payload_expires_at <= now, messages.c.payload.is_not(None))
        .limit(limit)
    )
    ids = expired.scalars().all()
    if ids:
        await _delete(conn, ids)
    return len(ids)


async def _delete(conn: AsyncConnection, message_ids: Sequence[str]) -> None:
    await conn.execute(
        update(messages).where(among(messages.c.id, message_ids)).values(payload=None)
    )
    # Waits for the outcomes that are being recorded, which may add bodies; a later one sees that
    # the payload is gone.
    await conn.execute(
        select(delivery_table.c.message_id)
        .where(among(delivery_table.c.message_id, message_ids))
        .order_by(delivery_table.c.message_id, delivery_table.c.endpoint_id)
        .with_for_update()
    )
    await conn.execute(
        update(attempts)
        .where(among(attempts.c.message_id, message_ids), attempts.c.response_body.is_not(None))
        .values(response_body=None)
    )
