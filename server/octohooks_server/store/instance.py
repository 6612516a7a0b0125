"""Facts about the database itself, shared by all servers that work on it."""

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database import insert_unless_taken
from octohooks_server.store.tables import instance

_TOKEN_KEY = "token_key"
_TOKEN_KEY_BYTES = 32


async def ensure_token_key(conn: AsyncConnection, random_bytes: Callable[[int], bytes]) -> bytes:
    """The key that tokens for pages and watches are signed with, made by the first who asks."""
    await conn.execute(
        insert_unless_taken(conn, instance),
        {"name": _TOKEN_KEY, "value": random_bytes(_TOKEN_KEY_BYTES)},
    )
    key = await conn.scalar(select(instance.c.value).where(instance.c.name == _TOKEN_KEY))
    assert isinstance(key, bytes)
    return key
