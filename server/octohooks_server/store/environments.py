"""Environments: the unit of isolation."""

from datetime import datetime, timedelta
from typing import Any

from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_HMAC_SHA256
from octohooks.v1.environment_pb2 import Environment
from sqlalchemy import bindparam, case, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import NotFound
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import Prepared
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import environments

DEFAULT_PAYLOAD_RETENTION = timedelta(days=90)


async def create(
    conn: AsyncConnection, *, id: str, environment: Environment, now: datetime
) -> Environment:
    """Makes an environment and answers it as it was stored."""
    await conn.execute(
        insert(environments),
        {
            "id": id,
            **_columns(environment),
            "last_sequence": 0,
            "last_recorded_at": now,
            "cleaned_to": 0,
            "purged_to": 0,
            "created_at": now,
            "updated_at": now,
        },
    )
    return await get(conn, id)


async def get(conn: AsyncConnection, id: str, *, for_update: bool = False) -> Environment:
    """One environment, or NotFound."""
    query = select(environments).where(environments.c.id == id, environments.c.deleted_at.is_(None))
    if for_update:
        query = query.with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise NotFound("environment", id)
    return _environment(row._mapping)


async def list_page(conn: AsyncConnection, *, after: str | None, limit: int) -> Page[Environment]:
    """Environments, oldest first."""
    query = select(environments).where(environments.c.deleted_at.is_(None))
    if after is not None:
        query = query.where(environments.c.id > after)
    rows = await conn.execute(query.order_by(environments.c.id).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["id"], _environment)


async def store_update(
    conn: AsyncConnection, *, id: str, environment: Environment, now: datetime
) -> Environment:
    """Stores every changeable field of an environment that exists."""
    await conn.execute(
        update(environments)
        .where(environments.c.id == id)
        .values(**_columns(environment), updated_at=now)
    )
    return await get(conn, id)


async def mark_deleted(conn: AsyncConnection, *, id: str, now: datetime) -> bool:
    """Hides an environment from everything; False when there was none."""
    result = await conn.execute(
        update(environments)
        .where(environments.c.id == id, environments.c.deleted_at.is_(None))
        .values(deleted_at=now)
    )
    return result.rowcount > 0


async def exists_any(conn: AsyncConnection) -> bool:
    """Whether there ever was an environment; a deleted one counts."""
    return bool(await conn.scalar(select(func.count()).select_from(environments)))


async def take_sequences(
    conn: AsyncConnection, *, environment_id: str, count: int, now: datetime
) -> tuple[int, datetime]:
    """Reserves `count` event numbers, in order; answers the first, and the time to record them at.

    Whoever takes numbers holds the environment until its transaction ends, so a number becomes
    visible only after every lower one. The time is `now`, or that of the event before when another
    server's clock is ahead.
    """
    rows = await _TAKE_SEQUENCES.rows(conn, environment_id=environment_id, count=count, now=now)
    if not rows:
        raise NotFound("environment", environment_id)
    return rows[0]["last_sequence"] - count + 1, rows[0]["last_recorded_at"]


def _columns(environment: Environment) -> dict[str, Any]:
    has = environment.HasField
    return {
        "name": environment.name,
        "retry_schedule": (
            values.steps_of(environment.retry_schedule) if has("retry_schedule") else None
        ),
        "payload_retention": (
            values.span(environment.payload_retention) if has("payload_retention") else None
        ),
        "default_signature_type": environment.default_signature_type or SIGNATURE_TYPE_HMAC_SHA256,
        "enforce_schemas": environment.enforce_schemas,
    }


def _environment(row: RowMapping) -> Environment:
    return Environment(
        id=row["id"],
        name=row["name"],
        retry_schedule=values.retry_schedule(row["retry_schedule"]),
        payload_retention=values.duration(row["payload_retention"] or DEFAULT_PAYLOAD_RETENTION),
        default_signature_type=row["default_signature_type"],
        enforce_schemas=row["enforce_schemas"],
        create_time=values.timestamp(row["created_at"]),
        update_time=values.timestamp(row["updated_at"]),
    )


_BEFORE = environments.c.last_recorded_at
_NOW = bindparam("now", type_=_BEFORE.type)
_TAKE_SEQUENCES = Prepared(
    update(environments)
    .where(environments.c.id == bindparam("environment_id"))
    .values(
        last_sequence=environments.c.last_sequence + bindparam("count"),
        last_recorded_at=case((_BEFORE > _NOW, _BEFORE), else_=_NOW),
    )
    .returning(environments.c.last_sequence, environments.c.last_recorded_at)
)
