"""Deliveries: messages on their way to endpoints. Claiming them, and ending them early."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    CANCEL_REASON_PAYLOAD_DELETED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    Delivery,
)
from sqlalchemy import (
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from octohooks_server.errors import NotFound
from octohooks_server.store import environments
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import among, insert_unless_taken, key_pairs
from octohooks_server.store.due import DueDelivery, destinations_of
from octohooks_server.store.messages import MessageFilter
from octohooks_server.store.paging import Page
from octohooks_server.store.tables import (
    applications,
    cancellations,
    deliveries,
    endpoints,
    messages,
)

_BY_KEY = and_(
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


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a look for due deliveries found."""

    deliveries: Sequence[DueDelivery]
    # Whether more was due than could be claimed.
    has_more: bool
    # The environments in which deliveries were cancelled.
    changed_environments: Collection[str]


def select_by_keys(
    conn: AsyncConnection, keys: Collection[tuple[str, str]], *columns: ColumnElement[Any]
) -> Select[Any]:
    """Columns of the deliveries with these message and endpoint IDs, each found by primary key.

    A join, since SQLite looks through the whole table for a row in a list of rows.
    """
    wanted = key_pairs(conn, "message_id", "endpoint_id", keys)
    return select(*columns).select_from(
        wanted.join(
            deliveries,
            and_(
                deliveries.c.message_id == wanted.c.message_id,
                deliveries.c.endpoint_id == wanted.c.endpoint_id,
            ),
        )
    )


async def claim_due(
    conn: AsyncConnection,
    *,
    now: datetime,
    limit: int,
    lease: timedelta,
    room: Callable[[str], int],
) -> Claimed:
    """Claims up to `limit` due deliveries for this server, and of each endpoint `room(its ID)`.

    Each stays this server's until `now + lease`; after that it falls due again by itself, and the
    raised claim number keeps a late result of the old claim from being recorded. What can no longer
    be attempted, since its endpoint is disabled or deleted or its payload is gone, is ended here.
    """
    chosen, has_more = await _choose_due(conn, now=now, limit=limit, room=room)
    if not chosen:
        return Claimed([], has_more, ())
    due = (
        (
            await conn.execute(
                select_by_keys(conn, chosen, *deliveries.c).with_for_update(
                    of=deliveries, skip_locked=True
                )
            )
        )
        .mappings()
        .all()
    )
    due = [row for row in due if row["due_at"] is not None and row["due_at"] <= now]
    payloads = {
        row.id: row
        for row in await conn.execute(
            select(messages.c.id, messages.c.event_type, messages.c.payload).where(
                among(messages.c.id, {row["message_id"] for row in due})
            )
        )
    }
    endpoint_rows = {
        row["id"]: row
        for row in (
            await conn.execute(
                select(endpoints, applications.c.deleted_at.label("application_deleted_at"))
                .join(applications, applications.c.id == endpoints.c.application_id)
                .where(among(endpoints.c.id, {row["endpoint_id"] for row in due}))
            )
        ).mappings()
    }
    settings = await environments.find_settings(
        conn, list({row["environment_id"] for row in endpoint_rows.values()})
    )
    destinations = await destinations_of(
        conn, list(endpoint_rows.values()), settings=settings, now=now
    )
    lease_ends_at = now + lease
    claimed: list[DueDelivery] = []
    ended: dict[int, list[RowMapping]] = {}
    for row in due:
        reason = _obstacle(endpoint_rows[row["endpoint_id"]], payloads[row["message_id"]].payload)
        if reason is not None:
            ended.setdefault(reason, []).append(row)
            continue
        claimed.append(
            DueDelivery(
                destination=destinations[row["endpoint_id"]],
                message_id=row["message_id"],
                event_type=payloads[row["message_id"]].event_type,
                payload=payloads[row["message_id"]].payload,
                claim=row["claim"] + 1,
                attempt_count=row["attempt_count"],
                scheduled_count=row["scheduled_count"],
                manual=row["manual_requests"] > 0,
                created_at=row["created_at"],
                lease_ends_at=lease_ends_at,
            )
        )
    if claimed:
        await conn.execute(
            update(deliveries)
            .where(_BY_KEY)
            .values(claim=deliveries.c.claim + 1, leased=True, due_at=lease_ends_at),
            [
                {"of_message": one.message_id, "of_endpoint": one.destination.endpoint_id}
                for one in claimed
            ],
        )
    changed: set[str] = set()
    for reason, rows in ended.items():
        changed |= await _cancel_rows(conn, rows, reason=reason, now=now)
    return Claimed(claimed, has_more, changed)


async def _choose_due(
    conn: AsyncConnection, *, now: datetime, limit: int, room: Callable[[str], int]
) -> tuple[list[tuple[str, str]], bool]:
    """The keys of due deliveries to claim, and whether more is due than is chosen.

    Those that are due longest come first. Where the longest due ones all belong to endpoints that
    have no room, their backlog is jumped over: what waits for other endpoints is found by the
    endpoints' own queues, at the cost of one index probe for each endpoint with a queue.
    """
    look_at = 2 * limit
    rows = (
        await conn.execute(
            select(deliveries.c.message_id, deliveries.c.endpoint_id)
            .where(deliveries.c.due_at <= now)
            .order_by(deliveries.c.due_at)
            .limit(look_at)
        )
    ).all()
    chosen: list[tuple[str, str]] = []
    left: dict[str, int] = {}
    for message_id, endpoint_id in rows:
        free = left.get(endpoint_id)
        if free is None:
            free = room(endpoint_id)
        if free > 0 and len(chosen) < limit:
            chosen.append((message_id, endpoint_id))
            free -= 1
        left[endpoint_id] = free
    has_more = len(rows) > len(chosen)
    if len(rows) < look_at or len(chosen) == limit:
        return chosen, has_more
    for endpoint_id in await _endpoints_with_due(conn, now=now):
        if endpoint_id in left:
            continue
        free = min(room(endpoint_id), limit - len(chosen))
        if free > 0:
            ids = await conn.execute(
                select(deliveries.c.message_id)
                .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.due_at <= now)
                .order_by(deliveries.c.due_at)
                .limit(free)
            )
            chosen.extend((id, endpoint_id) for id in ids.scalars())
    return chosen, True


async def _endpoints_with_due(conn: AsyncConnection, *, now: datetime) -> Sequence[str]:
    """The endpoints that have due deliveries, the longest due first.

    Reads one index entry for each endpoint that has anything waiting, whatever the length of its
    queue.
    """
    waiting = deliveries.c.due_at.is_not(None)
    queues = select(func.min(deliveries.c.endpoint_id).label("endpoint_id")).where(waiting)
    queue = queues.cte("queue", recursive=True)
    following = (
        select(func.min(deliveries.c.endpoint_id))
        .where(waiting, deliveries.c.endpoint_id > queue.c.endpoint_id)
        .scalar_subquery()
    )
    queue = queue.union_all(select(following).where(queue.c.endpoint_id.is_not(None)))
    first_due = (
        select(func.min(deliveries.c.due_at))
        .where(waiting, deliveries.c.endpoint_id == queue.c.endpoint_id)
        .scalar_subquery()
    )
    found = select(queue.c.endpoint_id, first_due.label("first_due")).subquery()
    rows = await conn.execute(
        select(found.c.endpoint_id).where(found.c.first_due <= now).order_by(found.c.first_due)
    )
    return rows.scalars().all()


async def next_due_at(conn: AsyncConnection) -> datetime | None:
    """When the next delivery falls due; None when none is going to."""
    due_at: datetime | None = await conn.scalar(
        select(func.min(deliveries.c.due_at)).where(deliveries.c.due_at.is_not(None))
    )
    return due_at


async def give_back(
    conn: AsyncConnection, claimed: Collection[DueDelivery], *, due_at: datetime
) -> None:
    """Ends claims that were not used, so that any server may attempt the deliveries at `due_at`."""
    if claimed:
        await conn.execute(
            update(deliveries)
            .where(_BY_KEY, deliveries.c.claim == bindparam("of_claim"), deliveries.c.leased)
            .values(leased=False, due_at=due_at),
            [
                {
                    "of_message": one.message_id,
                    "of_endpoint": one.destination.endpoint_id,
                    "of_claim": one.claim,
                }
                for one in sorted(claimed, key=_place)
            ],
        )


async def cancel_pending(
    conn: AsyncConnection,
    *,
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
    rows = (
        (
            await conn.execute(
                select(deliveries)
                .where(
                    of,
                    deliveries.c.due_at.is_not(None),
                    or_(~deliveries.c.leased, deliveries.c.due_at <= now),
                )
                .limit(limit)
                .with_for_update()
            )
        )
        .mappings()
        .all()
    )
    await _cancel_rows(conn, rows, reason=reason, now=now)
    return len(rows)


async def restart(
    conn: AsyncConnection, *, keys: Collection[tuple[str, str]], now: datetime
) -> None:
    """Makes ended deliveries, by message and endpoint ID, pending from the schedule's start.

    One of which a manual attempt is under way is left to that.
    """
    if keys:
        await conn.execute(
            update(deliveries)
            .where(
                _BY_KEY,
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
            [{"of_message": message, "of_endpoint": endpoint} for message, endpoint in keys],
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
    conn: AsyncConnection, *, message_id: str, endpoint_id: str, now: datetime
) -> None:
    """Makes a manual attempt due at once, or right after the one that is under way."""
    under_way = and_(deliveries.c.leased, deliveries.c.due_at > now)
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.message_id == message_id, deliveries.c.endpoint_id == endpoint_id)
        .values(
            # Of requests that come while none is under way, one attempt is made.
            manual_requests=case((under_way, deliveries.c.manual_requests + 1), else_=literal(1)),
            due_at=case(
                (under_way, deliveries.c.due_at), else_=literal(now, deliveries.c.due_at.type)
            ),
        )
    )


async def get(conn: AsyncConnection, *, message_id: str, endpoint_id: str) -> Delivery:
    """The delivery of a message to an endpoint, or NotFound."""
    row = (
        await conn.execute(
            _with_event_type().where(
                deliveries.c.message_id == message_id, deliveries.c.endpoint_id == endpoint_id
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


def _obstacle(endpoint: RowMapping, payload: bytes | None) -> int | None:
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


async def _cancel_rows(
    conn: AsyncConnection, rows: Sequence[RowMapping], *, reason: int, now: datetime
) -> set[str]:
    """Ends deliveries without an attempt; those that were pending become events.

    One that had ended already and only waited for a manual attempt loses that and stays as it is.
    Answers the environments that have new events.
    """
    pending = [row for row in rows if row["status"] == DELIVERY_STATUS_PENDING]
    ended = [row for row in rows if row["status"] != DELIVERY_STATUS_PENDING]
    if ended:
        await conn.execute(
            update(deliveries).where(_BY_KEY).values(manual_requests=0, leased=False, due_at=None),
            [_key(row) for row in ended],
        )
    if not pending:
        return set()
    await conn.execute(
        update(deliveries)
        .where(_BY_KEY)
        .values(
            status=DELIVERY_STATUS_CANCELLED,
            cancel_reason=reason,
            manual_requests=0,
            leased=False,
            due_at=None,
            scheduled_at=None,
            ended_at=now,
        ),
        [_key(row) for row in pending],
    )
    event_types = {
        row.id: row.event_type
        for row in await conn.execute(
            select(messages.c.id, messages.c.event_type).where(
                among(messages.c.id, {row["message_id"] for row in pending})
            )
        )
    }
    by_environment: dict[str, list[RowMapping]] = {}
    for row in pending:
        by_environment.setdefault(row["environment_id"], []).append(row)
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
                for index, row in enumerate(of_environment)
            ],
        )
    return set(by_environment)


def _place(delivery: DueDelivery) -> tuple[str, str]:
    """Where it stands in the order in which transactions take deliveries, lest they deadlock."""
    return delivery.message_id, delivery.destination.endpoint_id


def _key(row: RowMapping) -> dict[str, str]:
    return {"of_message": row["message_id"], "of_endpoint": row["endpoint_id"]}


def _with_event_type() -> Select[Any]:
    return select(deliveries, messages.c.event_type).join(
        messages, messages.c.id == deliveries.c.message_id
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
