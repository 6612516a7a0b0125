"""API keys, kept as hashes."""

from dataclasses import dataclass
from datetime import datetime

from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import NotFound
from octohooks_server.store import proto_values as values
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import api_keys, environments


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What a key opens, and until when."""

    id: str
    environment_id: str
    name: str
    role: ApiKeyRole.ValueType
    application_id: str | None
    max_requests_per_second: int
    max_watches: int
    expires_at: datetime | None


async def create(
    conn: AsyncConnection,
    *,
    id: str,
    environment_id: str,
    api_key: ApiKey,
    key_hash: bytes,
    display_prefix: str,
    expires_at: datetime | None,
    now: datetime,
) -> ApiKey:
    """Makes a key with this name, role, application's ID and limits; answers it as it is listed."""
    await conn.execute(
        insert(api_keys),
        {
            "id": id,
            "environment_id": environment_id,
            "name": api_key.name,
            "display_prefix": display_prefix,
            "key_hash": key_hash,
            "role": api_key.role,
            "application_id": api_key.application or None,
            "max_requests_per_second": api_key.max_requests_per_second,
            "max_watches": api_key.max_watches,
            "expires_at": expires_at,
            "created_at": now,
        },
    )
    return await get(conn, id=id, environment_id=environment_id)


async def get(
    conn: AsyncConnection, *, id: str, environment_id: str | None, for_update: bool = False
) -> ApiKey:
    """One key of the environment (of any, when it is None), or NotFound."""
    query = select(api_keys).where(api_keys.c.id == id)
    if environment_id is not None:
        query = query.where(api_keys.c.environment_id == environment_id)
    if for_update:
        query = query.with_for_update()
    row = (await conn.execute(query)).first()
    if row is None:
        raise NotFound("API key", id)
    return _api_key(row._mapping)


async def list_page(
    conn: AsyncConnection, *, environment_id: str, before: str | None, limit: int
) -> Page[ApiKey]:
    """The keys of an environment, newest first."""
    query = select(api_keys).where(api_keys.c.environment_id == environment_id)
    if before is not None:
        query = query.where(api_keys.c.id < before)
    rows = await conn.execute(query.order_by(api_keys.c.id.desc()).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["id"], _api_key)


async def find_by_hash(conn: AsyncConnection, key_hash: bytes) -> KnownKey | None:
    """The key with this hash, whether it has expired or not, unless its environment is deleted."""
    row = (
        await conn.execute(
            select(
                api_keys.c.id,
                api_keys.c.environment_id,
                api_keys.c.name,
                api_keys.c.role,
                api_keys.c.application_id,
                api_keys.c.max_requests_per_second,
                api_keys.c.max_watches,
                api_keys.c.expires_at,
            )
            .join(environments, environments.c.id == api_keys.c.environment_id)
            .where(api_keys.c.key_hash == key_hash, environments.c.deleted_at.is_(None))
        )
    ).first()
    return None if row is None else KnownKey(*row)


async def is_live(conn: AsyncConnection, *, id: str, environment_id: str, now: datetime) -> bool:
    """Whether a key of the environment exists and has not expired."""
    live = await conn.scalar(
        select(api_keys.c.id)
        .join(environments, environments.c.id == api_keys.c.environment_id)
        .where(
            api_keys.c.id == id,
            api_keys.c.environment_id == environment_id,
            environments.c.deleted_at.is_(None),
            api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > now),
        )
    )
    return live is not None


async def set_expiry(conn: AsyncConnection, *, id: str, expires_at: datetime) -> None:
    """Ends a key at a time, unless it ends earlier already."""
    await conn.execute(
        update(api_keys)
        .where(
            api_keys.c.id == id,
            api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > expires_at),
        )
        .values(expires_at=expires_at)
    )


async def mark_used(conn: AsyncConnection, *, used_at: dict[str, datetime]) -> None:
    """Notes when keys were last used."""
    # In one order, so that two servers never wait for each other.
    for id, time in sorted(used_at.items()):
        await conn.execute(
            update(api_keys)
            .where(
                api_keys.c.id == id,
                api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at < time),
            )
            .values(last_used_at=time)
        )


async def remove(conn: AsyncConnection, *, id: str, environment_id: str | None) -> None:
    """Ends a key for good, or raises NotFound."""
    query = delete(api_keys).where(api_keys.c.id == id)
    if environment_id is not None:
        query = query.where(api_keys.c.environment_id == environment_id)
    if (await conn.execute(query)).rowcount == 0:
        raise NotFound("API key", id)


async def remove_all(conn: AsyncConnection, *, environment_id: str) -> None:
    """Ends every key of an environment."""
    await conn.execute(delete(api_keys).where(api_keys.c.environment_id == environment_id))


async def remove_all_of_application(conn: AsyncConnection, *, application_id: str) -> None:
    """Ends every key that opens this application alone."""
    await conn.execute(delete(api_keys).where(api_keys.c.application_id == application_id))


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        environment=row["environment_id"],
        name=row["name"],
        display_prefix=row["display_prefix"],
        expire_time=values.timestamp(row["expires_at"]),
        last_used_time=values.timestamp(row["last_used_at"]),
        create_time=values.timestamp(row["created_at"]),
        role=row["role"],
        application=row["application_id"] or "",
        max_requests_per_second=row["max_requests_per_second"],
        max_watches=row["max_watches"],
    )
