"""Creates that can be repeated safely, by the caller's `idempotency-key`."""

import hashlib
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.caller import Caller
from octohooks_server.store import idempotency
from octohooks_server.store.idempotency import KeyedRequest

M = TypeVar("M", bound=Message)

_OPERATOR_SCOPE = "operator"
_NONCE_BYTES = 12


def keyed_request(caller: Caller, request: Message, key: str | None) -> KeyedRequest | None:
    """The request under an idempotency key; None when there is none."""
    if key is None:
        return None
    content = request.SerializeToString(deterministic=True)
    name = request.DESCRIPTOR.full_name.encode()
    return KeyedRequest(
        scope=caller.environment_id or _OPERATOR_SCOPE,
        key_hash=hashlib.sha256(b"key:" + key.encode()).digest(),
        request_hash=hashlib.sha256(name + b"\0" + content).digest(),
    )


async def once(
    conn: AsyncConnection,
    caller: Caller,
    request: Message,
    make: Callable[[], Awaitable[M]],
    response_type: type[M],
    *,
    now: datetime,
) -> M:
    """Answers `make()`, or what it answered when the caller's key was used first.

    The answer is kept in the same transaction as what was made, so there is never one without the
    other. It is encrypted with the caller's key, of which only a hash is kept, since some answers
    hold secrets. FailedPrecondition when the key was used with another request.
    """
    keyed = keyed_request(caller, request, caller.idempotency_key)
    if keyed is None or caller.idempotency_key is None:
        return await make()
    cipher = ChaCha20Poly1305(hashlib.sha256(b"answer:" + caller.idempotency_key.encode()).digest())
    earlier = (await idempotency.reserve(conn, [keyed], now=now)).get(keyed.key)
    if earlier is not None:
        keyed.require_same(earlier.request_hash)
        nonce, sealed = earlier.answer[:_NONCE_BYTES], earlier.answer[_NONCE_BYTES:]
        return response_type.FromString(cipher.decrypt(nonce, sealed, keyed.request_hash))
    answer = await make()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = cipher.encrypt(nonce, answer.SerializeToString(), keyed.request_hash)
    await idempotency.keep(conn, [(keyed, nonce + sealed)])
    return answer
