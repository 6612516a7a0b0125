"""JSON Schemas of event types: whether one is good, and whether a payload satisfies it.

Drafts 2020-12 and 7 are known. Nothing is ever fetched: a schema that refers to another document is
refused before it is compiled, and the compiler is told to stay offline as well. `format` documents
and is not checked, which is what draft 2020-12 says.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import orjson

from octohooks_server.api.payload_faults import PATTERN_OPTIONS, SchemaParts, find_fault
from octohooks_server.api.schema_structure import (
    Pointer,
    SchemaStructure,
    is_schema,
    nesting,
    pointer_text,
)

MAX_SCHEMA_BYTES = 64 * 1024
MAX_EXAMPLE_BYTES = 64 * 1024
MAX_EXAMPLES = 10

# How many schemas one value may have to be checked against, every reference followed. Without a
# limit, twenty short definitions that each refer to the next one twice cost a million checks.
MAX_EXPANDED_SIZE = 10_000
# Bytes of payload times schemas that they may have to be checked against. Each can take 5 ns, and
# since the library cannot be interrupted, nothing else in the process goes on meanwhile.
_MOST_WORK = 500_000_000
# What a regular expression that backtracks counts for among them.
_WORK_OF_BACKTRACKING = 100
_MAX_NESTING = 150
_DIALECTS = {
    "https://json-schema.org/draft/2020-12/schema",
    "http://json-schema.org/draft-07/schema",
}
_MOST_SHOWN = 200


class SchemaProblem(Exception):
    """Why a text is no schema that can be kept, as a sentence."""


class Schema:
    """A schema that payloads can be checked against."""

    def __init__(self, text: str) -> None:
        """SchemaProblem when the text is no good schema."""
        root = _parsed(text)
        _check_dialect(root)
        # What one value may have to be checked against, counted in schemas.
        self._size = _size(root)
        self._root = root
        self._validator = _compiled(root)
        self._parts: SchemaParts | None = None

    def fault_of(self, text: bytes | str) -> str | None:
        """Where and why a payload, which must be JSON, breaks the schema; None when it does not.

        The sentence holds none of the payload's values. Usually this takes microseconds. A payload
        that is too large for so large a schema is not checked and counts as breaking it.
        """
        if len(text) * self._size > _MOST_WORK:
            return (
                "It is too large to be checked: the schema, every reference followed, has"
                f" {self._size:,} parts."
            )
        payload: Any = orjson.loads(text)
        if self._validator.is_valid(payload):
            return None
        if self._parts is None:
            self._parts = SchemaParts(self._root)
        return find_fault(self._parts, payload, schema_size=self._size)


def example_problem(schema: Schema | None, example: str) -> str | None:
    """Why an event type cannot have this example, as a sentence; None when it can.

    It must be JSON and satisfy the schema, if there is one.
    """
    size = len(example.encode())
    if size > MAX_EXAMPLE_BYTES:
        return f"The example has {size:,} bytes and may have {MAX_EXAMPLE_BYTES:,}."
    try:
        orjson.loads(example)
    except orjson.JSONDecodeError as error:
        return f"The example is not valid JSON (line {error.lineno}, column {error.colno})."
    fault = None if schema is None else schema.fault_of(example)
    return None if fault is None else f"The example breaks the schema. {fault}"


def _parsed(text: str) -> Any:
    size = len(text.encode())
    if size > MAX_SCHEMA_BYTES:
        raise SchemaProblem(f"The schema has {size:,} bytes and may have {MAX_SCHEMA_BYTES:,}.")
    try:
        root = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SchemaProblem(
            f"The schema is not valid JSON (line {error.lineno}, column {error.colno})."
        ) from None
    if not is_schema(root):
        raise SchemaProblem("A schema is a JSON object, true or false.")
    if nesting(root) > _MAX_NESTING:
        raise SchemaProblem(f"The schema nests deeper than {_MAX_NESTING} levels.")
    return root


def _check_dialect(root: Any) -> None:
    if isinstance(root, dict) and "$schema" in root:
        dialect = root["$schema"]
        if not isinstance(dialect, str) or dialect.removesuffix("#") not in _DIALECTS:
            raise SchemaProblem(
                "At /$schema: the drafts that are known are"
                " https://json-schema.org/draft/2020-12/schema and"
                " http://json-schema.org/draft-07/schema#."
            )


def _size(root: Any) -> int:
    structure = SchemaStructure(root)
    if structure.dangling is not None:
        raise SchemaProblem(
            f"{_place(structure.dangling)}: the reference leads to nothing in this schema;"
            " references to other documents are not followed."
        )
    schemas = structure.expanded(most=MAX_EXPANDED_SIZE, deepest=_MAX_NESTING)
    if schemas is None:
        raise SchemaProblem(
            "The schema is too intricate: with every reference replaced by what it refers to, it"
            f" has more than {MAX_EXPANDED_SIZE:,} schemas or nests deeper than {_MAX_NESTING}"
            " levels."
        )
    patterns = Counter(pattern for schema in schemas for pattern in _patterns_in(schema))
    backtracking = sum(count for pattern, count in patterns.items() if _backtracks(pattern))
    return len(schemas) + _WORK_OF_BACKTRACKING * backtracking


def _patterns_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            yield pattern
        if isinstance(patterns := schema.get("patternProperties"), dict):
            yield from patterns


def _backtracks(pattern: str) -> bool:
    """Whether a regular expression is beyond the engine that takes linear time."""
    try:
        jsonschema_rs.validator_for(
            {"pattern": pattern}, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, ValueError):
        return True
    return False


def _compiled(root: Any) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            root, offline=True, validate_formats=False, pattern_options=PATTERN_OPTIONS
        )
    except jsonschema_rs.ValidationError as error:
        place = _place(tuple(str(token) for token in error.instance_path))
        raise SchemaProblem(f"{place}: {_reason(error)}") from None
    except ValueError:
        raise SchemaProblem("The schema cannot be read.") from None


def _reason(error: jsonschema_rs.ValidationError) -> str:
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.Format(format="regex"):
            return "this is not a regular expression that can be used."
        case jsonschema_rs.ValidationErrorKind.Type(types=types):
            return f"this must be of type {' or '.join(sorted(types))}."
        case jsonschema_rs.ValidationErrorKind.Referencing():
            return "a reference in the schema cannot be followed."
        case _:
            return "JSON Schema does not allow this value here."


def _place(pointer: Pointer) -> str:
    if not pointer:
        return "At its root"
    return f"At {pointer_text(pointer)[:_MOST_SHOWN]}"
