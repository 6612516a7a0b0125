"""Creates that can be repeated safely, by the caller's `idempotency-key`."""

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.caller import Caller, current_call
from octohooks_server.store import idempotency
from octohooks_server.store.idempotency import KeyedRequest
from octohooks_server.store.sealing import keyring_of, place_of_answer

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
        scope=_scope_of(caller),
        key_hash=hashlib.sha256(b"key:" + key.encode()).digest(),
        request_hash=hashlib.sha256(name + b"\0" + content).digest(),
    )


def _scope_of(caller: Caller) -> str:
    """Whose keys are told apart: those that open one application alone know nothing of others."""
    return caller.application_id or caller.environment_id or _OPERATOR_SCOPE


async def once(
    conn: AsyncConnection,
    request: Message,
    make: Callable[[], Awaitable[M]],
    response_type: type[M],
    *,
    now: datetime,
) -> M:
    """Answers `make()`, or what it answered when the caller's key was used first.

    The answer is kept in the same transaction as what was made, so there is never one without the
    other. It is encrypted with the caller's key, of which only a hash is kept, since some answers
    hold secrets; and sealed by the operator's keys, since a caller's key may be easy to guess.
    FailedPrecondition when the key was used with another request.
    """
    call = current_call()
    key = call.idempotency_key
    keyed = keyed_request(call.caller, request, key)
    if keyed is None or key is None:
        return await make()
    keyring = keyring_of(conn)
    place = place_of_answer(keyed.scope, keyed.key_hash)
    cipher = ChaCha20Poly1305(hashlib.sha256(b"answer:" + key.encode()).digest())
    earlier = (await idempotency.reserve(conn, [keyed], now=now)).get(keyed.key)
    if earlier is not None:
        keyed.require_same(earlier.request_hash)
        kept = b64decode(keyring.open(earlier.answer.decode(), place))
        nonce, sealed = kept[:_NONCE_BYTES], kept[_NONCE_BYTES:]
        return response_type.FromString(cipher.decrypt(nonce, sealed, keyed.request_hash))
    answer = await make()
    nonce = os.urandom(_NONCE_BYTES)
    sealed = cipher.encrypt(nonce, answer.SerializeToString(), keyed.request_hash)
    kept = keyring.seal(b64encode(nonce + sealed).decode(), place).encode()
    await idempotency.keep(conn, [(keyed, kept)])
    return answer
