"""Signatures after the Standard Webhooks specification (https://www.standardwebhooks.com).

The signed content is `id.timestamp.body`. A symmetric key signs it with HMAC-SHA256 as `v1`, an
asymmetric one with Ed25519 as `v1a`.
"""

import hashlib
import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HMAC_PREFIX = "whsec_"
ED25519_PREFIX = "whsk_"
ED25519_PUBLIC_PREFIX = "whpk_"

MIN_HMAC_BYTES = 24
MAX_HMAC_BYTES = 64
_GENERATED_HMAC_BYTES = 32
_ED25519_SEED_BYTES = 32
# Some libraries keep the public key behind the seed.
_ED25519_PAIR_BYTES = 64
# More than any secret takes, so that no huge text is decoded.
_MAX_SECRET_CHARACTERS = 256


class SigningKey(Protocol):
    """A secret made ready; it can sign any number of messages."""

    def signature(self, content: bytes) -> str:
        """The signature of the content with its version, such as `v1,...`."""
        ...


class HmacKey:
    """A symmetric key."""

    __slots__ = ("_hmac",)

    def __init__(self, key: bytes) -> None:
        # Holds the key's part of the computation, which is the same for every message.
        self._hmac = hmac.new(key, digestmod=hashlib.sha256)

    def signature(self, content: bytes) -> str:
        computation = self._hmac.copy()
        computation.update(content)
        return "v1," + _base64(computation.digest())


class Ed25519Key:
    """An asymmetric key pair."""

    __slots__ = ("_private",)

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def signature(self, content: bytes) -> str:
        return "v1a," + _base64(self._private.sign(content))


def sign(keys: Sequence[SigningKey], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature by each key, in their order.

    `timestamp` is in seconds, as in `webhook-timestamp`. Keys come newest first. ValueError when
    there are none, lest anything goes out unsigned.
    """
    if not keys:
        raise ValueError("nothing is signed without a key")
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    if len(keys) == 1:
        return keys[0].signature(content)
    return " ".join(key.signature(content) for key in keys)


def generate_hmac_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new symmetric secret from 32 random bytes."""
    return HMAC_PREFIX + _base64(random_bytes(_GENERATED_HMAC_BYTES))


def generate_ed25519_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new private key; its seed is 32 random bytes."""
    return ED25519_PREFIX + _base64(random_bytes(_ED25519_SEED_BYTES))


def ed25519_public_key(secret: str) -> str:
    """What receivers verify with, `whpk_...`. ValueError when `secret` is no private key."""
    return ED25519_PUBLIC_PREFIX + _base64(Ed25519Key(_ed25519_seed(secret)).public)


def signing_key(secret: str) -> SigningKey:
    """The key of a secret of either kind, as its prefix tells. ValueError when it is neither."""
    if secret.startswith(ED25519_PREFIX):
        return Ed25519Key(_ed25519_seed(secret))
    return HmacKey(_hmac_key(secret))


def hmac_secret_problem(secret: str) -> str | None:
    """Why `secret` cannot be a symmetric secret, as a sentence that does not hold it."""
    try:
        _hmac_key(secret)
    except ValueError as error:
        return str(error)
    return None


def ed25519_secret_problem(secret: str) -> str | None:
    """Why `secret` cannot be a private key, as a sentence that does not hold it."""
    try:
        _ed25519_seed(secret)
    except ValueError as error:
        return str(error)
    return None


def _hmac_key(secret: str) -> bytes:
    key = _decoded(secret, HMAC_PREFIX)
    if key is None or not MIN_HMAC_BYTES <= len(key) <= MAX_HMAC_BYTES:
        raise ValueError(
            f"An HMAC secret reads {HMAC_PREFIX} and then the base64 of "
            f"{MIN_HMAC_BYTES} to {MAX_HMAC_BYTES} bytes."
        )
    return key


def _ed25519_seed(secret: str) -> bytes:
    key = _decoded(secret, ED25519_PREFIX)
    if key is None or len(key) not in (_ED25519_SEED_BYTES, _ED25519_PAIR_BYTES):
        raise ValueError(
            f"An Ed25519 private key reads {ED25519_PREFIX} and then the base64 of its "
            f"{_ED25519_SEED_BYTES} bytes, or of these and the {_ED25519_SEED_BYTES} bytes of its "
            "public key."
        )
    seed, public = key[:_ED25519_SEED_BYTES], key[_ED25519_SEED_BYTES:]
    if public and not hmac.compare_digest(public, Ed25519Key(seed).public):
        raise ValueError("The public key in this Ed25519 key does not belong to its private key.")
    return seed


def _decoded(secret: str, prefix: str) -> bytes | None:
    if not secret.startswith(prefix) or len(secret) > _MAX_SECRET_CHARACTERS:
        return None
    try:
        return b64decode(secret[len(prefix) :], validate=True)
    except (Base64Error, ValueError):
        return None


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
