"""Column types that are the same on every database."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, Unicode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Any escape is taken whole, so that the quote behind an escaped backslash is not mistaken for one.
_TO_ESCAPE = re.compile(r"\\.|:")
_ESCAPES = {'\\"': "\\u0022", ":": "\\u003a"}


def to_microseconds(time: datetime) -> int:
    """Whole microseconds since the epoch, in UTC."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The time that `to_microseconds` came from."""
    return _EPOCH + timedelta(microseconds=microseconds)


# An ASCII text, compared and sorted by its bytes on every database and whatever its collation is.
Ascii = String().with_variant(String(collation="C"), "postgresql")


class Time(TypeDecorator[datetime]):
    """An aware `datetime`, kept as microseconds since the epoch: sorts and compares as a number."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:
        # In place of `process_bind_param`, which takes three calls for each value.
        return _stored_time

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[int | None], datetime | None]:
        return _time


def _stored_time(value: datetime | None) -> int | None:
    return None if value is None else to_microseconds(value)


def _time(value: int | None) -> datetime | None:
    return None if value is None else from_microseconds(value)


class Span(TypeDecorator[timedelta]):
    """A `timedelta`, kept as microseconds."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[timedelta | None], int | None]:
        return _stored_span

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[int | None], timedelta | None]:
        return _span


def _stored_span(value: timedelta | None) -> int | None:
    return None if value is None else value // _MICROSECOND


def _span(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(microseconds=value)


class Json(TypeDecorator[Any]):
    """A list or mapping as compact JSON text with sorted keys; an empty one is NULL.

    The text is canonical, so that a filter may look for a fragment of it.
    """

    impl = Unicode
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return json_text(value) if value else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


def json_text(value: Any) -> str:
    """The canonical JSON text of a value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class Tags(TypeDecorator[dict[str, str]]):
    """Texts by name, as JSON text in which `tag_text` finds its entry and nothing else.

    No entries are NULL. Quotes and colons inside of names and values are written as escapes, so
    that those that are left are JSON's own.
    """

    impl = Unicode
    cache_ok = True

    def process_bind_param(self, value: dict[str, str] | None, dialect: Dialect) -> str | None:
        if not value:
            return None
        return "{" + ",".join(tag_text(name, value[name]) for name in sorted(value)) + "}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, str] | None:
        return None if value is None else orjson.loads(value)


def tag_text(name: str, value: str) -> str:
    """How an entry stands in the text of `Tags`."""
    return f"{_escaped(name)}:{_escaped(value)}"


def _escaped(text: str) -> str:
    inside = orjson.dumps(text).decode()[1:-1]
    return f'"{_TO_ESCAPE.sub(lambda found: _ESCAPES.get(found[0], found[0]), inside)}"'


class Spans(TypeDecorator[Sequence[timedelta]]):
    """A sequence of `timedelta`, kept as a JSON list of microseconds; None is NULL."""

    impl = Unicode
    cache_ok = True

    def process_bind_param(self, value: Sequence[timedelta] | None, dialect: Dialect) -> str | None:
        return None if value is None else json_text([span // _MICROSECOND for span in value])

    def process_result_value(
        self, value: str | None, dialect: Dialect
    ) -> tuple[timedelta, ...] | None:
        if value is None:
            return None
        return tuple(timedelta(microseconds=span) for span in orjson.loads(value))


Bytes = LargeBinary
