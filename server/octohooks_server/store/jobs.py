"""Jobs: work on many messages, done step by step and taken up again after a crash."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_CANCELLED, DELIVERY_STATUS_FAILED
from octohooks.v1.job_pb2 import (
    JOB_KIND_RECOVER,
    JOB_STATE_CANCELLED,
    JOB_STATE_FINISHED,
    JOB_STATE_RUNNING,
    Job,
)
from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Select

from octohooks_server.errors import NotFound
from octohooks_server.rules.filters import wants
from octohooks_server.rules.ids import MESSAGE, first_id
from octohooks_server.store import deliveries
from octohooks_server.store import proto_values as values
from octohooks_server.store.deliveries import Key
from octohooks_server.store.tables import deliveries as delivery_table
from octohooks_server.store.tables import endpoints, jobs, messages

FINISHED_KEPT_FOR = timedelta(days=30)

# By how much the time in a message's ID may differ from that of its acceptance, which comes later,
# and whose clock may have been set meanwhile.
_TIMES_DIFFER_BY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a new job is to do."""

    environment_id: str
    application_id: str
    endpoint_id: str
    # A value of octohooks.v1.JobKind.
    kind: int
    # Messages accepted at `since` or later, and before `until`.
    since: datetime
    until: datetime


@dataclass(slots=True)
class _Progress:
    """What one step of a job comes to."""

    examined: int = 0
    scheduled: int = 0
    payload_deleted: int = 0


async def create(conn: AsyncConnection, *, id: str, request: JobRequest, now: datetime) -> Job:
    """Makes a job, which the next step begins with."""
    await conn.execute(
        insert(jobs),
        {
            "id": id,
            "environment_id": request.environment_id,
            "application_id": request.application_id,
            "endpoint_id": request.endpoint_id,
            "kind": request.kind,
            "state": JOB_STATE_RUNNING,
            "since": request.since,
            "until": request.until,
            "position": first_id(MESSAGE, request.since, -_TIMES_DIFFER_BY),
            "examined_count": 0,
            "scheduled_count": 0,
            "payload_deleted_count": 0,
            "worked_at": now,
            "created_at": now,
            "finished_at": None,
        },
    )
    return await get(conn, environment_id=request.environment_id, id=id)


async def get(conn: AsyncConnection, *, environment_id: str, id: str) -> Job:
    """One job, or NotFound."""
    row = (
        await conn.execute(
            select(jobs).where(jobs.c.id == id, jobs.c.environment_id == environment_id)
        )
    ).first()
    if row is None:
        raise NotFound("job", id)
    return _job(row._mapping)


async def is_any_running(conn: AsyncConnection) -> bool:
    """Whether there is a job to go on with."""
    return (
        await conn.scalar(select(jobs.c.id).where(jobs.c.finished_at.is_(None)).limit(1))
        is not None
    )


async def advance_one(conn: AsyncConnection, *, now: datetime, limit: int) -> bool:
    """Goes on with the running job that waited longest, by looking at `limit` messages.

    Answers whether there was one. What is sent again is due at once; the delivery loop takes it in
    turn with everything else.
    """
    job = (
        (
            await conn.execute(
                select(jobs)
                .where(jobs.c.finished_at.is_(None))
                .order_by(jobs.c.worked_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
        )
        .mappings()
        .first()
    )
    if job is None:
        return False
    endpoint = (
        (await conn.execute(select(endpoints).where(endpoints.c.id == job["endpoint_id"])))
        .mappings()
        .one()
    )
    if endpoint["disabled"] or endpoint["deleted_at"] is not None:
        await _store(conn, job, {"state": JOB_STATE_CANCELLED, "finished_at": now})
        return True
    is_recovery = job["kind"] == JOB_KIND_RECOVER
    query = _deliveries_of_endpoint(job) if is_recovery else _messages_of_application(job)
    # Each of these is looked at, so that a step ends soon however few are meant.
    looked_at = (await conn.execute(query.limit(limit))).mappings().all()
    rows = [row for row in looked_at if job["since"] <= row["created_at"] < job["until"]]
    progress = (
        await _recover(conn, rows, now) if is_recovery else await _replay(conn, rows, endpoint, now)
    )
    is_finished = len(looked_at) < limit
    await _store(
        conn,
        job,
        {
            "position": looked_at[-1]["message_id"] if looked_at else job["position"],
            "examined_count": job["examined_count"] + progress.examined,
            "scheduled_count": job["scheduled_count"] + progress.scheduled,
            "payload_deleted_count": job["payload_deleted_count"] + progress.payload_deleted,
            "worked_at": now,
            "state": JOB_STATE_FINISHED if is_finished else JOB_STATE_RUNNING,
            "finished_at": now if is_finished else None,
        },
    )
    return True


async def remove_old(conn: AsyncConnection, *, now: datetime) -> None:
    """Deletes jobs that finished 30 days ago or earlier."""
    await conn.execute(delete(jobs).where(jobs.c.finished_at <= now - FINISHED_KEPT_FOR))


def _deliveries_of_endpoint(job: RowMapping) -> Select[Any]:
    return (
        select(
            delivery_table.c.environment_id,
            delivery_table.c.message_id,
            delivery_table.c.endpoint_id,
            delivery_table.c.status,
            messages.c.created_at,
            messages.c.payload.is_(None).label("payload_deleted"),
        )
        .join(messages, messages.c.id == delivery_table.c.message_id)
        .where(
            delivery_table.c.endpoint_id == job["endpoint_id"],
            delivery_table.c.message_id > job["position"],
            delivery_table.c.message_id < _end(job),
        )
        .order_by(delivery_table.c.message_id)
    )


def _messages_of_application(job: RowMapping) -> Select[Any]:
    return (
        select(
            messages.c.id.label("message_id"),
            messages.c.event_type,
            messages.c.channels,
            messages.c.addressed_to,
            messages.c.created_at,
            messages.c.payload.is_(None).label("payload_deleted"),
            delivery_table.c.status,
        )
        .outerjoin(
            delivery_table,
            and_(
                delivery_table.c.message_id == messages.c.id,
                delivery_table.c.endpoint_id == job["endpoint_id"],
            ),
        )
        .where(
            messages.c.application_id == job["application_id"],
            messages.c.id > job["position"],
            messages.c.id < _end(job),
        )
        .order_by(messages.c.id)
    )


def _end(job: RowMapping) -> str:
    """What sorts behind the IDs of all messages that the job is about."""
    return first_id(MESSAGE, job["until"], _TIMES_DIFFER_BY)


async def _recover(conn: AsyncConnection, rows: Sequence[RowMapping], now: datetime) -> _Progress:
    failed = [row for row in rows if row["status"] == DELIVERY_STATUS_FAILED]
    sendable = [row for row in failed if not row["payload_deleted"]]
    await deliveries.restart(
        conn,
        keys=[(row["environment_id"], row["message_id"], row["endpoint_id"]) for row in sendable],
        now=now,
    )
    return _Progress(len(failed), len(sendable), len(failed) - len(sendable))


async def _replay(
    conn: AsyncConnection, rows: Sequence[RowMapping], endpoint: RowMapping, now: datetime
) -> _Progress:
    progress = _Progress(examined=len(rows))
    missing: list[str] = []
    cancelled: list[Key] = []
    for row in rows:
        if row["status"] not in (None, DELIVERY_STATUS_CANCELLED) or not _wants(endpoint, row):
            continue
        if row["payload_deleted"]:
            progress.payload_deleted += 1
        elif row["status"] is None:
            missing.append(row["message_id"])
        else:
            cancelled.append((endpoint["environment_id"], row["message_id"], endpoint["id"]))
    await deliveries.create(
        conn,
        environment_id=endpoint["environment_id"],
        application_id=endpoint["application_id"],
        endpoint_id=endpoint["id"],
        message_ids=missing,
        now=now,
    )
    await deliveries.restart(conn, keys=cancelled, now=now)
    progress.scheduled = len(missing) + len(cancelled)
    return progress


def _wants(endpoint: RowMapping, message: RowMapping) -> bool:
    if message["addressed_to"] is not None:
        return bool(message["addressed_to"] == endpoint["id"])
    return wants(
        endpoint["event_types"] or (),
        endpoint["channels"] or (),
        message["event_type"],
        message["channels"] or (),
    )


async def _store(conn: AsyncConnection, job: RowMapping, changes: dict[str, Any]) -> None:
    await conn.execute(update(jobs).where(jobs.c.id == job["id"]).values(**changes))


def _job(row: RowMapping) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        application=row["application_id"],
        endpoint=row["endpoint_id"],
        state=row["state"],
        since=values.timestamp(row["since"]),
        until=values.timestamp(row["until"]),
        examined_count=row["examined_count"],
        scheduled_count=row["scheduled_count"],
        payload_deleted_count=row["payload_deleted_count"],
        create_time=values.timestamp(row["created_at"]),
        finish_time=values.timestamp(row["finished_at"]),
    )
