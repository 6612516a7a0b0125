"""API keys: how they are made, hashed and recognised."""

import asyncio
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from octohooks_server.api.caller import Caller
from octohooks_server.errors import Unauthenticated
from octohooks_server.store import api_keys
from octohooks_server.store.api_keys import KnownKey
from octohooks_server.store.database import Database

API_KEY_PREFIX = "octo_"
OPERATOR_KEY_PREFIX = "octo_operator_"
_KEY_BYTES = 32
_DISPLAYED_CHARACTERS = len(API_KEY_PREFIX) + 6
_MOST_REMEMBERED = 10_000
# After this, a key that another server revoked has ended here too.
_REMEMBERED_SECONDS = 3.0
# How many keys are looked up in the database at the same time.
_MOST_LOOKUPS = 2
# How exact the last-used time of a key is; finer would cost a write for every call.
_LAST_USED_STEP = timedelta(minutes=1)
_OPERATOR = Caller(environment_id=None, api_key_id=None)
# Whoever holds a key, and when it ends.
_Known = tuple[Caller, datetime | None]


def new_key(prefix: str, random_bytes: Callable[[int], bytes]) -> str:
    """A new key: the prefix and 256 random bits."""
    return prefix + urlsafe_b64encode(random_bytes(_KEY_BYTES)).rstrip(b"=").decode()


def hash_key(key: str) -> bytes:
    """What is kept of a key. It holds 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(key.encode()).digest()


def display_prefix(key: str) -> str:
    """The part of a key that may be shown, to recognise it by."""
    return key[:_DISPLAYED_CHARACTERS]


class Authenticator:
    """Tells who a call comes from.

    Keys are remembered, so that a call costs no read; whoever changes keys calls `forget`.
    """

    def __init__(
        self, database: Database, *, operator_key: str, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._operator_hash = hash_key(operator_key)
        self._clock = clock
        self._loop_time = asyncio.get_running_loop().time
        self._known: dict[bytes, _Known] = {}
        self._used_at: dict[str, datetime] = {}
        self._changed = asyncio.Event()
        self._forget_at = 0.0
        self._lookups = asyncio.Semaphore(_MOST_LOOKUPS)

    async def identify(self, authorization: str) -> Caller:
        """Whose call it is that came with this in its metadata, or Unauthenticated, the same for
        every cause.
        """
        key_hash = hash_key(_bearer_token(authorization))
        if hmac.compare_digest(key_hash, self._operator_hash):
            return _OPERATOR
        caller, expires_at = await self._find(key_hash)
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise Unauthenticated
        self._note_use(caller, now)
        return caller

    async def is_live(self, caller: Caller) -> bool:
        """Whether the key that opened a call long ago still works, by what is stored now."""
        if caller.api_key_id is None or caller.environment_id is None:
            return True
        async with self._database.read() as conn:
            return await api_keys.is_live(
                conn,
                id=caller.api_key_id,
                environment_id=caller.environment_id,
                now=self._clock(),
            )

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Around a change of keys: they are read anew afterwards, also when the call is cut off."""
        try:
            yield
        finally:
            self.forget()

    def forget(self) -> None:
        """Reads keys anew, since one was revoked or changed."""
        self._known.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """An event that is set when a key is revoked or changed by this server."""
        return self._changed

    def periodic_check(self, caller: Caller) -> Callable[[], Awaitable[None]]:
        """A check for a long stream: Unauthenticated once the key that opened it has ended.

        It looks when this server changed a key, and every few seconds for what others did.
        """
        clock = asyncio.get_running_loop().time
        changed = self._changed
        check_at = clock() + _REMEMBERED_SECONDS

        async def check() -> None:
            nonlocal changed, check_at
            if not changed.is_set() and clock() < check_at:
                return
            changed, check_at = self._changed, clock() + _REMEMBERED_SECONDS
            if not await self.is_live(caller):
                raise Unauthenticated

        return check

    def take_uses(self) -> dict[str, datetime]:
        """When keys were used since the last call of this, to be stored."""
        uses, self._used_at = self._used_at, {}
        return uses

    async def _find(self, key_hash: bytes) -> _Known:
        seconds = self._loop_time()
        if seconds >= self._forget_at or len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
            self._forget_at = seconds + _REMEMBERED_SECONDS
        known = self._known.get(key_hash)
        if known is not None:
            return known
        changed = self._changed
        # Whoever tries keys must not take all connections of those who have one.
        async with self._lookups, self._database.read() as conn:
            key = await api_keys.find_by_hash(conn, key_hash)
        if key is None:
            raise Unauthenticated
        known = _caller_with(key), key.expires_at
        if not changed.is_set():
            # Else a key may have been revoked since it was read.
            self._known[key_hash] = known
        return known

    def _note_use(self, caller: Caller, now: datetime) -> None:
        id = caller.api_key_id or ""
        last = self._used_at.get(id)
        if last is None or now - last >= _LAST_USED_STEP:
            self._used_at[id] = now


def _caller_with(key: KnownKey) -> Caller:
    """Whoever holds this key."""
    return Caller(
        environment_id=key.environment_id,
        api_key_id=key.id,
        api_key_name=key.name,
        role=key.role,
        application_id=key.application_id,
        max_requests_per_second=key.max_requests_per_second,
        max_watches=key.max_watches,
    )


def _bearer_token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated
    return token.strip()
