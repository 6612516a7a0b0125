"""Applications: the consumers of webhooks."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from octohooks.v1.application_pb2 import Application
from sqlalchemy import BindParameter, bindparam, literal_column, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.errors import AlreadyExists, NotFound
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import proto_values as values
from octohooks_server.store.database import Prepared, among, insert_unless_taken, texts
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import applications

# Without a type, or SQLite is asked whether it equals 1, and does not see that the index fits.
IS_OPERATIONAL: ColumnElement[bool] = literal_column("applications.is_operational")


async def create(
    conn: AsyncConnection, *, environment_id: str, id: str, application: Application, now: datetime
) -> Application:
    """Makes an application and answers it as it was stored; AlreadyExists when its UID is taken."""
    made = await conn.execute(
        insert_unless_taken(conn, applications).returning(applications.c.id),
        _new_row(environment_id, id, application, now),
    )
    if made.first() is None:
        raise AlreadyExists("application", application.uid)
    return await get(conn, environment_id=environment_id, reference=id)


async def ensure(
    conn: AsyncConnection, *, environment_id: str, application: Application, now: datetime
) -> None:
    """Makes an application with all that is given, unless there is one with this UID."""
    await conn.execute(
        insert_unless_taken(conn, applications),
        _new_row(environment_id, application.id, application, now),
    )


async def get(
    conn: AsyncConnection, *, environment_id: str, reference: str, for_update: bool = False
) -> Application:
    """The application with this ID or UID, or NotFound."""
    application = await find(
        conn, environment_id=environment_id, reference=reference, for_update=for_update
    )
    if application is None:
        raise NotFound("application", reference)
    return application


async def find(
    conn: AsyncConnection, *, environment_id: str, reference: str, for_update: bool = False
) -> Application | None:
    """The application with this ID or UID, or None."""
    query = select(applications).where(*_visible(environment_id), _matches(reference))
    if for_update:
        query = query.with_for_update()
    row = (await conn.execute(query)).first()
    return None if row is None else _application(row._mapping)


async def get_id(conn: AsyncConnection, *, environment_id: str, reference: str) -> str:
    """The ID of the application with this ID or UID, or NotFound."""
    ids = await find_ids(conn, environment_id=environment_id, references=[reference])
    if reference not in ids:
        raise NotFound("application", reference)
    return ids[reference]


async def find_ids(
    conn: AsyncConnection, *, environment_id: str, references: Collection[str]
) -> Mapping[str, str]:
    """The IDs of those references, IDs or UIDs, that name an application."""
    ids = [one for one in references if one.startswith(APPLICATION)]
    uids = [one for one in references if not one.startswith(APPLICATION)]
    found: dict[str, str] = {}
    # Two statements: with an OR of both, no index would be used.
    for find, wanted in ((_FIND_BY_ID, ids), (_FIND_BY_UID, uids)):
        if wanted:
            rows = await find.rows(conn, environment_id=environment_id, wanted=wanted)
            found.update({row["reference"]: row["id"] for row in rows})
    return found


async def list_page(
    conn: AsyncConnection,
    *,
    environment_id: str,
    only: str | None = None,
    after: str | None,
    limit: int,
) -> Page[Application]:
    """Applications, oldest first; where `only` is an ID, that one alone."""
    query = select(applications).where(*_visible(environment_id))
    if only is not None:
        query = query.where(applications.c.id == only)
    if after is not None:
        query = query.where(applications.c.id > after)
    rows = await conn.execute(query.order_by(applications.c.id).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["id"], _application)


async def store_update(
    conn: AsyncConnection, *, environment_id: str, application: Application, now: datetime
) -> Application:
    """Stores every changeable field of an application that exists; AlreadyExists as in `create`."""
    try:
        await conn.execute(
            update(applications)
            .where(applications.c.id == application.id)
            .values(**_columns(application), updated_at=now)
        )
    except IntegrityError:
        raise AlreadyExists("application", application.uid) from None
    return await get(conn, environment_id=environment_id, reference=application.id)


async def mark_deleted(conn: AsyncConnection, *, id: str, now: datetime) -> None:
    """Hides an application and frees its UID."""
    await conn.execute(update(applications).where(applications.c.id == id).values(deleted_at=now))


async def ensure_operational(
    conn: AsyncConnection, *, environment_id: str, new_id: str, now: datetime
) -> str:
    """The ID of the environment's own application, made with `new_id` when there is none yet."""
    id = await find_operational(conn, environment_id=environment_id)
    if id is not None:
        return id
    await conn.execute(
        insert_unless_taken(conn, applications),
        _new_row(environment_id, new_id, Application(), now) | {"is_operational": True},
    )
    made = await find_operational(conn, environment_id=environment_id)
    assert made is not None
    return made


async def find_operational(conn: AsyncConnection, *, environment_id: str) -> str | None:
    """The ID of the environment's own application, or None while it has none."""
    return await conn.scalar(
        select(applications.c.id).where(
            applications.c.environment_id == environment_id, IS_OPERATIONAL
        )
    )


def _visible(environment_id: str | BindParameter[str]) -> tuple[ColumnElement[bool], ...]:
    return (
        applications.c.environment_id == environment_id,
        applications.c.deleted_at.is_(None),
        ~applications.c.is_operational,
    )


def _matches(reference: str) -> ColumnElement[bool]:
    if reference.startswith(APPLICATION):
        return applications.c.id == reference
    return applications.c.uid == reference


def _new_row(
    environment_id: str, id: str, application: Application, now: datetime
) -> dict[str, Any]:
    return {
        "id": id,
        "environment_id": environment_id,
        **_columns(application),
        "is_operational": False,
        "created_at": now,
        "updated_at": now,
    }


def _columns(application: Application) -> dict[str, Any]:
    return {
        "uid": application.uid or None,
        "name": application.name,
        "rate_limit": application.rate_limit,
        "metadata": dict(application.metadata),
    }


def _application(row: RowMapping) -> Application:
    return Application(
        id=row["id"],
        uid=row["uid"] or "",
        name=row["name"],
        rate_limit=row["rate_limit"],
        metadata=row["metadata"] or {},
        create_time=values.timestamp(row["created_at"]),
        update_time=values.timestamp(row["updated_at"]),
    )


def _find_by(column: ColumnElement[str]) -> Prepared:
    return Prepared(
        select(column.label("reference"), applications.c.id).where(
            *_visible(bindparam("environment_id", type_=applications.c.environment_id.type)),
            among(column, texts("wanted")),
        )
    )


_FIND_BY_ID = _find_by(applications.c.id)
_FIND_BY_UID = _find_by(applications.c.uid)
