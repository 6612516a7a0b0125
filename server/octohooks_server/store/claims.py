"""Claims: due deliveries that a server takes for itself for a time, and gives back unused."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    CANCEL_REASON_PAYLOAD_DELETED,
)
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store import destinations
from octohooks_server.store.cancelling import cancel_rows
from octohooks_server.store.database import Prepared, Row, UpdateRows, among, texts, within
from octohooks_server.store.deliveries import BY_KEY, Key, select_by_keys
from octohooks_server.store.due import DueDelivery
from octohooks_server.store.tables import deliveries, messages


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of a claim."""

    deliveries: Sequence[DueDelivery]
    # Whether some were no longer due, or another server was just claiming them.
    is_partial: bool
    # The environments in which deliveries were cancelled.
    changed_environments: Collection[str]


async def claim(
    conn: AsyncConnection, keys: Collection[Key], *, now: datetime, lease: timedelta
) -> Claimed:
    """Claims deliveries for this server, as far as they are due.

    Each stays this server's until `now + lease`; after that it falls due again by itself, and the
    raised claim number keeps a late result of the old claim from being recorded. What can no longer
    be attempted, since its endpoint is disabled or deleted or its payload is gone, is ended here.
    """
    held = await _HELD.rows(
        conn,
        environment_ids=list({key[0] for key in keys}),
        message_ids=[key[1] for key in keys],
        endpoint_ids=[key[2] for key in keys],
    )
    # They were chosen before they were held.
    due = [row for row in held if row["due_at"] is not None and row["due_at"] <= now]
    lease_ends_at = now + lease
    claimed, ended = await attemptable(conn, due, now=now, lease_ends_at=lease_ends_at)
    await _CLAIM.run(
        conn,
        [
            {
                "environment_id": one.destination.environment_id,
                "message_id": one.message_id,
                "endpoint_id": one.destination.endpoint_id,
                "claim": one.claim,
                "leased": True,
                "due_at": lease_ends_at,
            }
            for one in claimed
        ],
    )
    changed = await cancel_rows(conn, ended, now=now)
    return Claimed(claimed, len(due) < len(keys), changed)


async def attemptable(
    conn: AsyncConnection, rows: Sequence[Row], *, now: datetime, lease_ends_at: datetime
) -> tuple[list[DueDelivery], dict[int, list[Row]]]:
    """What attempts need of deliveries, by their rows as they were before they were claimed.

    The rows of those that can no longer be attempted come apart, by the CancelReason.
    """
    environment_ids = list({row["environment_id"] for row in rows})
    within = {"environment_ids": environment_ids}
    message_rows = {
        row["id"]: row
        for row in await _MESSAGES.rows(
            conn, **within, ids=list({row["message_id"] for row in rows})
        )
    }
    endpoints = await destinations.by_ids(
        conn, **within, ids=list({row["endpoint_id"] for row in rows}), now=now
    )
    found: list[DueDelivery] = []
    ended: dict[int, list[Row]] = {}
    for row in rows:
        message = message_rows[row["message_id"]]
        endpoint, destination = endpoints[row["endpoint_id"]]
        reason = _obstacle(endpoint, message["payload"])
        if reason is not None:
            ended.setdefault(reason, []).append(row)
            continue
        found.append(
            DueDelivery(
                destination=destination,
                message_id=row["message_id"],
                event_type=message["event_type"],
                payload=message["payload"],
                claim=row["claim"] + 1,
                attempt_count=row["attempt_count"],
                scheduled_count=row["scheduled_count"],
                manual=row["manual_requests"] > 0,
                created_at=row["created_at"],
                lease_ends_at=lease_ends_at,
                trace_parent=message["trace_parent"],
            )
        )
    return found, ended


async def next_due_at(conn: AsyncConnection) -> datetime | None:
    """When the next delivery falls due, of whatever environment; None when none is going to."""
    due_at: datetime | None = await _NEXT_DUE_AT.scalar(conn)
    return due_at


async def give_back(
    conn: AsyncConnection, claimed: Collection[DueDelivery], *, due_at: datetime
) -> None:
    """Ends claims that were not used, so that any server may attempt the deliveries at `due_at`."""
    claims = (
        (
            (one.destination.environment_id, one.message_id, one.destination.endpoint_id),
            one.claim,
        )
        for one in claimed
    )
    await give_back_keys(conn, dict(claims), due_at=due_at)


async def give_back_keys(
    conn: AsyncConnection, claims: Mapping[Key, int], *, due_at: datetime
) -> None:
    """Like `give_back`, for the claims with these numbers."""
    if claims:
        await conn.execute(
            update(deliveries)
            .where(BY_KEY, deliveries.c.claim == bindparam("of_claim"), deliveries.c.leased)
            .values(leased=False, due_at=due_at),
            [
                {
                    "of_environment": environment_id,
                    "of_message": message_id,
                    "of_endpoint": endpoint_id,
                    "of_claim": claim,
                }
                # In the order in which transactions take deliveries, lest they deadlock.
                for (environment_id, message_id, endpoint_id), claim in sorted(
                    claims.items(), key=lambda claim: claim[0][1:]
                )
            ],
        )


def _obstacle(endpoint: Row, payload: bytes | None) -> int | None:
    """Why a delivery can no longer be attempted; None when it can."""
    if endpoint["application_deleted_at"] is not None:
        return CANCEL_REASON_APPLICATION_DELETED
    if endpoint["deleted_at"] is not None:
        return CANCEL_REASON_ENDPOINT_DELETED
    if endpoint["disabled"]:
        return CANCEL_REASON_ENDPOINT_DISABLED
    if payload is None:
        return CANCEL_REASON_PAYLOAD_DELETED
    return None


_HELD = Prepared(
    lambda dialect: select_by_keys(
        # All columns, since a delivery that is ended here becomes an event.
        dialect,
        None,
        *deliveries.c,
    ).with_for_update(of=deliveries, skip_locked=True)
)
_MESSAGES = Prepared(
    select(messages.c.id, messages.c.event_type, messages.c.trace_parent, messages.c.payload).where(
        within(messages.c.environment_id, texts("environment_ids")),
        among(messages.c.id, texts("ids")),
    )
)
_CLAIM = UpdateRows(
    deliveries,
    within="environment_id",
    keys=("message_id", "endpoint_id"),
    changes=("claim", "leased", "due_at"),
)
_NEXT_DUE_AT = Prepared(
    select(func.min(deliveries.c.due_at)).where(deliveries.c.due_at.is_not(None))
)
