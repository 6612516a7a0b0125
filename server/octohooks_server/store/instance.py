"""Facts about the database itself, shared by all servers that work on it."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import SEALED_PREFIX, Keyring, key_id_of
from octohooks_server.store.database import insert_unless_taken
from octohooks_server.store.sealing import keyring_of, place_of_fact
from octohooks_server.store.tables import instance

_TOKEN_KEY = "token_key"
_TOKEN_KEY_BYTES = 32


async def ensure_token_key(conn: AsyncConnection, random_bytes: Callable[[int], bytes]) -> bytes:
    """The key that tokens for pages and watches are signed with, made by the first who asks.

    CannotOpen when it is sealed and does not open.
    """
    keyring = keyring_of(conn)
    made = _sealed(keyring, random_bytes(_TOKEN_KEY_BYTES))
    await conn.execute(insert_unless_taken(conn, instance), {"name": _TOKEN_KEY, "value": made})
    kept = await _kept_token_key(conn)
    assert kept is not None
    return _opened(keyring, kept)


async def key_ids(conn: AsyncConnection) -> AsyncIterator[str | None]:
    """The key that each secret fact is sealed with, by its ID; None for a plain one."""
    kept = await _kept_token_key(conn)
    if kept is not None:
        yield _key_id(kept)


async def reseal(conn: AsyncConnection, *, seals: Keyring) -> bool:
    """Seals the secret facts with another keyring; False when they are sealed so already.

    CannotOpen when one does not open with the connection's keyring.
    """
    kept = await _kept_token_key(conn)
    if kept is None or _key_id(kept) == seals.newest:
        return False
    resealed = _sealed(seals, _opened(keyring_of(conn), kept))
    await conn.execute(
        update(instance)
        .where(instance.c.name == _TOKEN_KEY, instance.c.value == kept)
        .values(value=resealed)
    )
    return True


async def _kept_token_key(conn: AsyncConnection) -> bytes | None:
    kept: bytes | None = await conn.scalar(
        select(instance.c.value).where(instance.c.name == _TOKEN_KEY)
    )
    return kept


def _key_id(kept: bytes) -> str | None:
    return key_id_of(kept.decode()) if _is_sealed(kept) else None


def _is_sealed(kept: bytes) -> bool:
    return len(kept) != _TOKEN_KEY_BYTES and kept.startswith(SEALED_PREFIX.encode())


def _sealed(keyring: Keyring, value: bytes) -> bytes:
    if keyring.newest is None:
        return value
    return keyring.seal(b64encode(value).decode(), place_of_fact(_TOKEN_KEY)).encode()


def _opened(keyring: Keyring, kept: bytes) -> bytes:
    if not _is_sealed(kept):
        return kept
    return b64decode(keyring.open(kept.decode(), place_of_fact(_TOKEN_KEY)))
