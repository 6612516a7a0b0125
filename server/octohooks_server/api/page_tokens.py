"""Page tokens: where a list goes on, bound to the request that it was made for."""

from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message

from octohooks_server.api.seals import Seals
from octohooks_server.errors import InvalidArgument
from octohooks_server.store.paging import Cursor

C = TypeVar("C")


class PageTokens:
    """Makes and opens page tokens."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def seal(self, cursor: Cursor, request: Message, environment_id: str) -> str:
        """The token for the page behind `cursor`; empty when there is none."""
        if cursor is None:
            return ""
        return self._seals.seal(orjson.dumps(cursor), *_bounds(request, environment_id))

    def open(self, kind: type[C], request: Any, environment_id: str) -> C | None:
        """The cursor, of this kind, in the request's token, or None when it is empty.

        InvalidArgument when it was altered, or made for another request or environment. The page
        size may change from page to page.
        """
        if not request.page_token:
            return None
        content = self._seals.open(request.page_token, *_bounds(request, environment_id))
        if content is None:
            raise InvalidArgument.of(
                "page_token",
                "The token was not made by this server for this request.",
                reason="INVALID_PAGE_TOKEN",
            )
        cursor = orjson.loads(content)
        assert isinstance(cursor, kind)
        return cursor


def _bounds(request: Message, environment_id: str) -> tuple[bytes, ...]:
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    return (
        request.DESCRIPTOR.full_name.encode(),
        environment_id.encode(),
        bound.SerializeToString(deterministic=True),
    )
