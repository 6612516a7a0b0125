"""The signing keys of stored secrets, made ready once."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from octohooks_server.rules.signing import SigningKey, signing_key
from octohooks_server.store.endpoint_secrets import StoredSecret

_ready_key = lru_cache(maxsize=10_000)(signing_key)


def live_keys(
    secrets: Sequence[StoredSecret], *, clock: Callable[[], datetime]
) -> list[SigningKey]:
    """The keys of the secrets that have not expired, in their order."""
    return [
        _ready_key(secret.secret)
        for secret in secrets
        if secret.expires_at is None or secret.expires_at > clock()
    ]
