"""YAML read as JSON is: strings, numbers, true, false, null, lists and objects with text as keys.

Scalars are those of YAML 1.2's core schema, so that `no` and `2026-01-31` are text. Aliases and
merge keys work within limits, since a few lines of them can stand for billions of values. No tag
makes anything else than these values.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

MOST_NESTING = 100
# What all values may take with every alias replaced by what it stands for: characters, and so many
# more for each value.
_MOST_SIZE = 8 * 1024 * 1024
_SIZE_OF_A_VALUE = 20

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE = "tag:yaml.org,2002:"
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# What JSON parsers read as integers; longer ones lose their last digits as they do in JSON.
_MOST_DIGITS = 18


class YamlProblem(Exception):
    """Why a text cannot be read, as a sentence."""


def read_yaml(text: str) -> Any:
    """The one document in `text`, or YamlProblem."""
    try:
        return _Reader().read(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(f"It is not valid YAML{_at(mark)}.") from None
    except yaml.YAMLError:
        raise YamlProblem("It holds characters that YAML does not allow.") from None


class _Value:
    """A value that was read whole: what it is, how much it takes, how deep it nests."""

    def __init__(self, value: Any, size: int, nesting: int) -> None:
        self.value = value
        self.size = size
        self.nesting = nesting


class _Open:
    """A list or an object whose end has not come yet."""

    def __init__(self, anchor: str | None, *, is_object: bool) -> None:
        self.anchor = anchor
        self.is_object = is_object
        self.items: list[Any] = []
        self.entries: dict[str, Any] = {}
        self.key: str | None = None
        self.merges: list[dict[str, Any]] = []
        self.size = _SIZE_OF_A_VALUE
        self.nesting = 1

    def closed(self) -> _Value:
        value: Any = self.items
        if self.is_object:
            value = {}
            # An object's own entries win over merged ones, and those of earlier merges over later.
            for merged in reversed(self.merges):
                value.update(merged)
            value.update(self.entries)
        return _Value(value, self.size, self.nesting)


class _Reader:
    def __init__(self) -> None:
        self._open: list[_Open] = []
        # None for what is not closed yet.
        self._anchored: dict[str, _Value | None] = {}
        self._size = 0
        self._documents: list[Any] = []

    def read(self, events: Iterator[Any]) -> Any:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent) and self._documents:
                raise YamlProblem("It holds more than one YAML document.")
        if not self._documents:
            raise YamlProblem("It is empty.")
        return self._documents[0]

    def _scalar(self, event: Any) -> None:
        container = self._open[-1] if self._open else None
        if container is not None and container.is_object and container.key is None:
            self._key(container, event)
            return
        value = _Value(_scalar(event), _SIZE_OF_A_VALUE + len(event.value), 0)
        if event.anchor:
            self._anchored[event.anchor] = value
        self._add(value, event)

    def _key(self, container: _Open, event: Any) -> None:
        if event.anchor:
            self._anchored[event.anchor] = _Value(event.value, len(event.value), 0)
        self._take_key(container, event.value, event)

    def _take_key(self, container: _Open, key: str, event: Any) -> None:
        if key in container.entries:
            raise YamlProblem(f"The key {key[:100]!r} comes twice{_at(event.start_mark)}.")
        size = _SIZE_OF_A_VALUE + len(key)
        self._grow(size)
        container.size += size
        container.key = key

    def _begin(self, event: Any) -> None:
        container = self._open[-1] if self._open else None
        if container is not None and container.is_object and container.key is None:
            raise YamlProblem(f"A key is no text{_at(event.start_mark)}.")
        is_object = isinstance(event, yaml.MappingStartEvent)
        if not event.implicit and event.tag != f"{_CORE}{'map' if is_object else 'seq'}":
            raise YamlProblem(f"There is a tag that JSON has no value for{_at(event.start_mark)}.")
        if event.anchor:
            self._anchored[event.anchor] = None
        self._open.append(_Open(event.anchor, is_object=is_object))
        if len(self._open) > MOST_NESTING:
            raise _too_deep()
        self._grow(_SIZE_OF_A_VALUE)

    def _end(self, event: Any) -> None:
        closed = self._open.pop()
        value = closed.closed()
        if closed.anchor:
            self._anchored[closed.anchor] = value
        self._add(value, event)

    def _alias(self, event: Any) -> None:
        value = self._anchored.get(event.anchor)
        if value is None:
            raise YamlProblem(f"An alias stands for nothing{_at(event.start_mark)}.")
        container = self._open[-1] if self._open else None
        if container is not None and container.is_object and container.key is None:
            if not isinstance(value.value, str):
                raise YamlProblem(f"A key is no text{_at(event.start_mark)}.")
            self._take_key(container, value.value, event)
            return
        if len(self._open) + value.nesting > MOST_NESTING:
            raise _too_deep()
        self._grow(value.size)
        self._add(value, event)

    def _add(self, value: _Value, event: Any) -> None:
        if not self._open:
            self._documents.append(value.value)
            return
        container = self._open[-1]
        container.size += value.size
        container.nesting = max(container.nesting, value.nesting + 1)
        if not container.is_object:
            container.items.append(value.value)
            return
        key, container.key = container.key, None
        assert key is not None
        if key == "<<":
            container.merges.extend(_merged(value.value, event))
        else:
            container.entries[key] = value.value

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > _MOST_SIZE:
            raise YamlProblem("With its aliases replaced by what they stand for, it is too large.")


def _merged(value: Any, event: Any) -> list[dict[str, Any]]:
    objects = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in objects):
        raise YamlProblem(f"What is merged is no object{_at(event.start_mark)}.")
    return objects


def _scalar(event: Any) -> Any:
    text: str = event.value
    plain, quoted = event.implicit
    if not plain:
        if quoted or event.tag in ("!", f"{_CORE}str"):
            return text
        if event.tag not in {_CORE + name for name in ("null", "bool", "int", "float")}:
            raise YamlProblem(f"There is a tag that JSON has no value for{_at(event.start_mark)}.")
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) and len(text) <= _MOST_DIGITS:
        return int(text)
    if len(text) <= _MOST_DIGITS:
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.fullmatch(text):
            return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.fullmatch(text):
        return text
    raise YamlProblem(f"There is a number that JSON has not{_at(event.start_mark)}.")


def _too_deep() -> YamlProblem:
    return YamlProblem(f"It nests deeper than {MOST_NESTING} levels.")


def _at(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
