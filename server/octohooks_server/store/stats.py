"""What happened at an endpoint, in numbers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCEEDED
from octohooks.v1.delivery_pb2 import (
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_service_pb2 import GetEndpointStatsResponse, LatencySummary
from sqlalchemy import Double, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.store import proto_values as values
from octohooks_server.store.tables import attempts, deliveries, messages


async def of_endpoint(
    conn: AsyncConnection, *, endpoint_id: str, after: datetime, before: datetime | None
) -> GetEndpointStatsResponse:
    """Counts of deliveries by the time of their message, of attempts by their start.

    Without `before`, of everything since `after`.
    """
    by_status = await conn.execute(
        select(deliveries.c.status, func.count())
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(
            deliveries.c.endpoint_id == endpoint_id, *_between(messages.c.created_at, after, before)
        )
        .group_by(deliveries.c.status)
    )
    delivered = {row.status: row[1] for row in by_status}
    by_outcome = await conn.execute(
        select(attempts.c.outcome, func.count())
        .where(*_in_range(endpoint_id, after, before))
        .group_by(attempts.c.outcome)
    )
    attempted = {row.outcome: row[1] for row in by_outcome}
    return GetEndpointStatsResponse(
        pending_deliveries=delivered.get(DELIVERY_STATUS_PENDING, 0),
        succeeded_deliveries=delivered.get(DELIVERY_STATUS_SUCCEEDED, 0),
        failed_deliveries=delivered.get(DELIVERY_STATUS_FAILED, 0),
        cancelled_deliveries=delivered.get(DELIVERY_STATUS_CANCELLED, 0),
        succeeded_attempts=attempted.get(ATTEMPT_OUTCOME_SUCCEEDED, 0),
        failed_attempts=attempted.get(ATTEMPT_OUTCOME_FAILED, 0),
        latency=await _latency(conn, endpoint_id, after, before, sum(attempted.values())),
    )


async def _latency(
    conn: AsyncConnection, endpoint_id: str, after: datetime, before: datetime | None, count: int
) -> LatencySummary | None:
    if count == 0:
        return None
    in_range = _in_range(endpoint_id, after, before)

    async def at_rank(rank: int) -> Duration | None:
        """The duration that `rank` attempts, counted from the fastest, did not exceed."""
        return values.duration(
            await conn.scalar(
                select(attempts.c.duration)
                .where(*in_range)
                .order_by(attempts.c.duration)
                .offset(rank - 1)
                .limit(1)
            )
        )

    mean = await conn.scalar(select(func.avg(attempts.c.duration, type_=Double)).where(*in_range))
    return LatencySummary(
        min=await at_rank(1),
        mean=values.duration(timedelta(microseconds=round(mean or 0))),
        p50=await at_rank(_rank(50, count)),
        p95=await at_rank(_rank(95, count)),
        p99=await at_rank(_rank(99, count)),
        max=await at_rank(count),
    )


def _rank(percent: int, count: int) -> int:
    """The nearest rank: the smallest that at least `percent` of 100 attempts lie at or below."""
    return -(-count * percent // 100)


def _in_range(
    endpoint_id: str, after: datetime, before: datetime | None
) -> Sequence[ColumnElement[bool]]:
    of_endpoint = attempts.c.endpoint_id == endpoint_id
    return [of_endpoint, *_between(attempts.c.started_at, after, before)]


def _between(
    time: ColumnElement[Any], after: datetime, before: datetime | None
) -> Sequence[ColumnElement[bool]]:
    return [time >= after] if before is None else [time >= after, time < before]
