"""Pages of large entities, kept well below what one gRPC message may hold."""

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from octohooks_server.store.paging import Page

M = TypeVar("M", bound=Message)

_MOST_BYTES = 2 * 1024 * 1024


def cut_to_size(page: Page[M], key: Callable[[M], str]) -> Page[M]:
    """The page, ended early where its items together exceed 2 MiB; one item always remains."""
    size = 0
    for index, item in enumerate(page.items):
        size += item.ByteSize()
        if size > _MOST_BYTES and index > 0:
            shown = page.items[:index]
            return Page(shown, key(shown[-1]))
    return page
