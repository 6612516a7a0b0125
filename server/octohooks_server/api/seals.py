"""Opaque tokens: a content that only this database's servers can make, bound to what it is for."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

_SEAL_BYTES = 16


class Seals:
    """Makes and opens tokens; any server that works on the same database can open them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, content: bytes, *bound_to: bytes) -> str:
        """A token with this content, good only for what it is bound to."""
        return urlsafe_b64encode(self._mac(content, bound_to) + content).decode()

    def open(self, token: str, *bound_to: bytes) -> bytes | None:
        """The content; None when the token was altered, or made for something else."""
        try:
            data = urlsafe_b64decode(token.encode())
        except (Base64Error, ValueError):
            return None
        # The decoder passes over what is no base64, so that altered texts would open too.
        if urlsafe_b64encode(data).decode() != token:
            return None
        mac, content = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        return content if hmac.compare_digest(mac, self._mac(content, bound_to)) else None

    def _mac(self, content: bytes, bound_to: tuple[bytes, ...]) -> bytes:
        parts = (*bound_to, content)
        sealed = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, sealed, hashlib.sha256)[:_SEAL_BYTES]
