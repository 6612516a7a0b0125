"""Pages of a list that is read in the order of a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.engine import RowMapping

T = TypeVar("T")
Cursor = str | int | list[str] | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the key of the last one when there are more behind it."""

    items: list[T]
    next_after: Cursor


def page_of(
    rows: Sequence[RowMapping],
    limit: int,
    key: Callable[[RowMapping], Cursor],
    item: Callable[[RowMapping], T],
) -> Page[T]:
    """The page that a read of `limit + 1` rows gives; the extra row says that there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([item(row) for row in shown], key(shown[-1]) if more else None)
