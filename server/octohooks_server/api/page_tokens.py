"""Page tokens: where a list goes on, sealed and bound to the request that it was made for."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message

from octohooks_server.errors import InvalidArgument
from octohooks_server.store.paging import Cursor

_SEAL_BYTES = 16
C = TypeVar("C")


class PageTokens:
    """Makes and opens page tokens; any server that works on the same database can open them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, cursor: Cursor, request: Message, environment_id: str) -> str:
        """The token for the page behind `cursor`; empty when there is none."""
        if cursor is None:
            return ""
        content = orjson.dumps(cursor)
        return urlsafe_b64encode(self._mac(content, request, environment_id) + content).decode()

    def open(self, kind: type[C], request: Any, environment_id: str) -> C | None:
        """The cursor, of this kind, in the request's token, or None when it is empty.

        InvalidArgument when it was altered, or made for another request or environment. The page
        size may change from page to page.
        """
        token = request.page_token
        if not token:
            return None
        try:
            data = urlsafe_b64decode(token.encode())
        except ValueError:
            raise _invalid() from None
        mac, content = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
        if not hmac.compare_digest(mac, self._mac(content, request, environment_id)):
            raise _invalid()
        cursor = orjson.loads(content)
        assert isinstance(cursor, kind)
        return cursor

    def _mac(self, content: bytes, request: Message, environment_id: str) -> bytes:
        bound = type(request)()
        bound.CopyFrom(request)
        bound.ClearField("page_token")
        bound.ClearField("page_size")
        parts = (
            request.DESCRIPTOR.full_name.encode(),
            environment_id.encode(),
            bound.SerializeToString(deterministic=True),
            content,
        )
        sealed = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, sealed, hashlib.sha256)[:_SEAL_BYTES]


def _invalid() -> InvalidArgument:
    return InvalidArgument.of(
        "page_token",
        "The token was not made by this server for this request.",
        reason="INVALID_PAGE_TOKEN",
    )
