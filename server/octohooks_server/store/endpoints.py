"""Endpoints: the URLs that messages go to."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import orjson
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_REQUESTED, Endpoint
from sqlalchemy import and_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from octohooks_server.errors import AlreadyExists, NotFound
from octohooks_server.rules.ids import ENDPOINT
from octohooks_server.rules.keyring import Keyring
from octohooks_server.store import endpoint_versions
from octohooks_server.store import proto_values as values
from octohooks_server.store.columns import json_text
from octohooks_server.store.database import (
    Row,
    among,
    insert_unless_taken,
    same,
    texts,
    within,
)
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.sealing import keyring_of, place_of_headers
from octohooks_server.store.tables import applications, endpoints

# What joins an endpoint with its application.
OF_APPLICATION = and_(
    same(applications.c.environment_id, endpoints.c.environment_id),
    applications.c.id == endpoints.c.application_id,
)


def select_by_ids(*columns: ColumnElement[Any]) -> Select[Any]:
    """Columns of endpoints and their applications, of those that are named when it is run: as
    `ids`, and as `environment_ids` the environments that occur.
    """
    return (
        select(*columns)
        .join(applications, OF_APPLICATION)
        .where(
            within(endpoints.c.environment_id, texts("environment_ids")),
            among(endpoints.c.id, texts("ids")),
        )
    )


async def create(
    conn: AsyncConnection,
    *,
    environment_id: str,
    application_id: str,
    id: str,
    endpoint: Endpoint,
    now: datetime,
) -> Endpoint:
    """Makes an endpoint and answers it as it was stored; AlreadyExists when its UID is taken."""
    made = await conn.execute(
        insert_unless_taken(conn, endpoints).returning(endpoints.c.id),
        {
            "id": id,
            "environment_id": environment_id,
            "application_id": application_id,
            **_columns(endpoint),
            "headers": _kept_headers(conn, environment_id, id, endpoint),
            "retire_reason": 0,
            "created_at": now,
            "updated_at": now,
        },
    )
    if made.first() is None:
        raise AlreadyExists("endpoint", endpoint.uid)
    await endpoint_versions.add(conn, environment_id=environment_id, endpoint_id=id, now=now)
    return await get(conn, application_id=application_id, reference=id)


async def get(
    conn: AsyncConnection, *, application_id: str, reference: str, for_update: bool = False
) -> Endpoint:
    """The application's endpoint with this ID or UID, or NotFound."""
    endpoint = await find(
        conn, application_id=application_id, reference=reference, for_update=for_update
    )
    if endpoint is None:
        raise NotFound("endpoint", reference)
    return endpoint


async def find(
    conn: AsyncConnection, *, application_id: str, reference: str, for_update: bool = False
) -> Endpoint | None:
    """The application's endpoint with this ID or UID, or None."""
    matches = endpoints.c.id if reference.startswith(ENDPOINT) else endpoints.c.uid
    query = select(endpoints).where(*_visible(application_id), matches == reference)
    if for_update:
        query = query.with_for_update()
    row = (await conn.execute(query)).first()
    return None if row is None else _endpoint(row._mapping, keyring_of(conn))


async def get_known_id(
    conn: AsyncConnection, *, environment_id: str, application_id: str | None, reference: str
) -> str:
    """The ID of an endpoint that the environment has or had, or NotFound.

    A deleted endpoint is found by its ID, since its deliveries and attempts stay readable, unless
    its application was deleted too. Without an application, `reference` is an ID.
    """
    query = (
        select(endpoints.c.id)
        .join(applications, OF_APPLICATION)
        .where(endpoints.c.environment_id == environment_id, applications.c.deleted_at.is_(None))
    )
    if reference.startswith(ENDPOINT):
        query = query.where(endpoints.c.id == reference)
    else:
        query = query.where(endpoints.c.uid == reference, endpoints.c.deleted_at.is_(None))
    if application_id is not None:
        query = query.where(endpoints.c.application_id == application_id)
    id = await conn.scalar(query)
    if id is None:
        raise NotFound("endpoint", reference)
    return str(id)


async def list_page(
    conn: AsyncConnection, *, application_id: str, after: str | None, limit: int
) -> Page[Endpoint]:
    """The endpoints of an application, oldest first."""
    query = select(endpoints).where(*_visible(application_id))
    if after is not None:
        query = query.where(endpoints.c.id > after)
    rows = await conn.execute(query.order_by(endpoints.c.id).limit(limit + 1))
    keyring = keyring_of(conn)
    return page_of(
        rows.mappings().all(), limit, lambda row: row["id"], lambda row: _endpoint(row, keyring)
    )


async def store_update(
    conn: AsyncConnection, *, environment_id: str, endpoint: Endpoint, now: datetime
) -> Endpoint:
    """Stores every changeable field of an endpoint that exists; AlreadyExists as in `create`."""
    # Enabled again, it gets what is accepted from now on and what has not been cancelled yet.
    goes_on = {} if endpoint.disabled else {"retire_reason": 0}
    try:
        await conn.execute(
            update(endpoints)
            .where(endpoints.c.id == endpoint.id)
            .values(
                **_columns(endpoint),
                **goes_on,
                headers=_kept_headers(conn, environment_id, endpoint.id, endpoint),
                updated_at=now,
            )
        )
    except IntegrityError:
        raise AlreadyExists("endpoint", endpoint.uid) from None
    await endpoint_versions.add(
        conn, environment_id=environment_id, endpoint_id=endpoint.id, now=now
    )
    return await get(conn, application_id=endpoint.application, reference=endpoint.id)


async def disable(
    conn: AsyncConnection, *, environment_id: str, id: str, reason: int, now: datetime
) -> bool:
    """Disables an endpoint; False when it was disabled or deleted already."""
    result = await conn.execute(
        update(endpoints)
        .where(
            endpoints.c.environment_id == environment_id,
            endpoints.c.id == id,
            ~endpoints.c.disabled,
            endpoints.c.deleted_at.is_(None),
        )
        .values(disabled=True, disable_reason=reason, updated_at=now)
    )
    await endpoint_versions.add(conn, environment_id=environment_id, endpoint_id=id, now=now)
    return result.rowcount > 0


async def set_failing_since(
    conn: AsyncConnection,
    *,
    environment_ids: Collection[str],
    ids: Collection[str],
    since: datetime | None,
) -> None:
    """Notes since when endpoints have only failed; None when they have not."""
    await conn.execute(
        update(endpoints)
        .where(within(endpoints.c.environment_id, environment_ids), among(endpoints.c.id, ids))
        .values(failing_since=since)
    )


async def mark_deleted(conn: AsyncConnection, *, id: str, now: datetime) -> None:
    """Hides an endpoint and frees its UID."""
    await conn.execute(update(endpoints).where(endpoints.c.id == id).values(deleted_at=now))


async def mark_all_deleted(
    conn: AsyncConnection,
    *,
    application_id: str | None = None,
    environment_id: str | None = None,
    now: datetime,
) -> Mapping[str, str]:
    """Hides every endpoint of an application or environment; answers their UIDs by their IDs."""
    scope = (
        endpoints.c.application_id == application_id
        if application_id is not None
        else endpoints.c.environment_id == environment_id
    )
    # In the order that all transactions keep, lest they deadlock.
    await conn.execute(
        select(endpoints.c.id)
        .where(scope, endpoints.c.deleted_at.is_(None))
        .order_by(endpoints.c.id)
        .with_for_update()
    )
    rows = await conn.execute(
        update(endpoints)
        .where(scope, endpoints.c.deleted_at.is_(None))
        .values(deleted_at=now)
        .returning(endpoints.c.id, endpoints.c.uid)
    )
    return {row.id: row.uid or "" for row in rows}


def _visible(application_id: str) -> tuple[ColumnElement[bool], ...]:
    return (endpoints.c.application_id == application_id, endpoints.c.deleted_at.is_(None))


def _columns(endpoint: Endpoint) -> dict[str, Any]:
    reason = endpoint.disable_reason or DISABLE_REASON_REQUESTED
    return {
        "uid": endpoint.uid or None,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": sorted(set(endpoint.event_types)),
        "channels": sorted(set(endpoint.channels)),
        "rate_limit": endpoint.rate_limit,
        "retry_schedule": (
            values.steps_of(endpoint.retry_schedule)
            if endpoint.HasField("retry_schedule")
            else None
        ),
        "signature_type": endpoint.signature_type,
        "disabled": endpoint.disabled,
        "disable_reason": reason if endpoint.disabled else 0,
        "failing_since": (
            values.moment(endpoint.failing_since) if endpoint.HasField("failing_since") else None
        ),
        "metadata": dict(endpoint.metadata),
    }


def headers_of(row: Row | RowMapping, keyring: Keyring) -> Mapping[str, str]:
    """The own headers of a row's endpoint; CannotOpen when they are sealed and do not open."""
    if row["headers"] is None:
        return {}
    text = keyring.open(row["headers"], place_of_headers(row["environment_id"], row["id"]))
    headers: dict[str, str] = orjson.loads(text)
    return headers


def _kept_headers(
    conn: AsyncConnection, environment_id: str, id: str, endpoint: Endpoint
) -> str | None:
    if not endpoint.headers:
        return None
    place = place_of_headers(environment_id, id)
    return keyring_of(conn).seal(json_text(dict(endpoint.headers)), place)


def _endpoint(row: RowMapping, keyring: Keyring) -> Endpoint:
    return Endpoint(
        id=row["id"],
        uid=row["uid"] or "",
        application=row["application_id"],
        url=row["url"],
        description=row["description"],
        event_types=row["event_types"] or (),
        channels=row["channels"] or (),
        headers=headers_of(row, keyring),
        rate_limit=row["rate_limit"],
        retry_schedule=values.retry_schedule(row["retry_schedule"]),
        signature_type=row["signature_type"],
        disabled=row["disabled"],
        disable_reason=row["disable_reason"],
        failing_since=values.timestamp(row["failing_since"]),
        metadata=row["metadata"] or {},
        create_time=values.timestamp(row["created_at"]),
        update_time=values.timestamp(row["updated_at"]),
    )
