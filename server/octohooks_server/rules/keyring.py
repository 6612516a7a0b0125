"""Secrets as they are kept: sealed by the operator's keys with AES-256-GCM, or plain without one.

A sealed text reads `sealed:<key ID>:<base64 of nonce and ciphertext>`. It opens only in its place,
the row and column that it was sealed for, so that one that is moved or altered does not open. No
plain text that is kept begins like a sealed one: secrets begin with `wh`, and JSON with a brace.
"""

import hashlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Collection, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
SEALED_PREFIX = "sealed:"
KEY_ID_CHARACTERS = 16
_NONCE_BYTES = 12


class CannotOpen(Exception):
    """A sealed text does not open here; the text says where it is and why, without a secret."""


def encoded_key(random_bytes: Callable[[int], bytes]) -> str:
    """A new encryption key as the settings take it."""
    return b64encode(random_bytes(KEY_BYTES)).decode()


def parse_keys(text: str) -> tuple[bytes, ...]:
    """Keys from their base64, separated by commas or white space.

    ValueError, with a sentence that repeats none, when one is wrong or comes twice.
    """
    keys = []
    for number, part in enumerate(text.replace(",", " ").split(), start=1):
        try:
            key = b64decode(part, validate=True)
        except (Base64Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(
                f"key {number} must be the base64 of {KEY_BYTES} random bytes, as `octohooks"
                " encryption key` makes them"
            )
        keys.append(key)
    if len(set(keys)) < len(keys):
        raise ValueError("must not name a key twice")
    return tuple(keys)


def key_id(key: bytes) -> str:
    """What a key is called in what it sealed; it tells nothing of the key."""
    return hashlib.sha256(b"octohooks encryption key:" + key).hexdigest()[:KEY_ID_CHARACTERS]


def key_id_of(stored: str) -> str | None:
    """The ID of the key that a stored text was sealed with; None when it is plain."""
    if not stored.startswith(SEALED_PREFIX):
        return None
    return stored[len(SEALED_PREFIX) :].partition(":")[0]


class Keyring:
    """The operator's keys: the newest one, which comes first, seals, and each of them opens.

    An empty keyring keeps texts plain. A key is good for about four thousand million sealings, the
    bound of AES-GCM with random nonces.
    """

    def __init__(self, keys: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._newest = next(iter(self._ciphers), None)
        self._random_bytes = random_bytes

    @property
    def newest(self) -> str | None:
        """The ID of the key that seals; None when texts are kept plain."""
        return self._newest

    @property
    def key_ids(self) -> Collection[str]:
        """The IDs of the keys that open."""
        return self._ciphers.keys()

    def seal(self, text: str, place: Sequence[str]) -> str:
        """The text as it is to be kept in this place."""
        if self._newest is None:
            return text
        nonce = self._random_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), _bound(place))
        return f"{SEALED_PREFIX}{self._newest}:{b64encode(nonce + sealed).decode()}"

    def open(self, stored: str, place: Sequence[str]) -> str:
        """The text that is kept in this place; CannotOpen when it is sealed and does not open."""
        id = key_id_of(stored)
        if id is None:
            return stored
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise CannotOpen(
                f"{_named(place)} is sealed with key {id}, which is not among"
                " OCTOHOOKS_ENCRYPTION_KEYS"
            )
        try:
            data = b64decode(stored[len(SEALED_PREFIX) + len(id) + 1 :], validate=True)
            return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _bound(place)).decode()
        except (InvalidTag, ValueError):
            raise CannotOpen(f"{_named(place)} was altered, or sealed for another place") from None


def _bound(place: Sequence[str]) -> bytes:
    """The place as one text that no other place has."""
    parts = [part.encode() for part in place]
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _named(place: Sequence[str]) -> str:
    column, *row = place
    return f"{column} of {' '.join(row)}" if row else column
