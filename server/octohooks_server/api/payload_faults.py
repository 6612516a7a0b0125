"""Where a payload breaks a schema.

The library can tell too, but collects the errors of all branches of all branches: a payload that
nests ten levels deep in a recursive `oneOf` takes it half a minute. Here, only whether a part of
the payload satisfies a part of the schema is asked, and only up to a limit.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import jsonschema_rs
import orjson

from octohooks_server.api.schema_structure import Pointer, pointer_text, pointer_tokens, value_at

# What all questions together may cost, in bytes of JSON times the schemas that they are checked
# against; a question costs something by itself too, as if it were about so many bytes.
_MOST_WORK = 100_000_000
_BYTES_PER_QUESTION = 2_000
# orjson writes no more than 254 levels.
_BYTES_OF_A_DEEP_VALUE = 50_000
_MOST_PARTS_KEPT = 256
_URI = "urn:octohooks:schema"
_MOST_BRANCHES = 50
_MOST_SHOWN = 200
# Where backtracking of one regular expression ends; some never would. The library's own limit lets
# one expression take a tenth of a second.
PATTERN_OPTIONS = jsonschema_rs.FancyRegexOptions(backtrack_limit=1_000)

# What says something about a value by itself, in the order in which it helps to hear of it.
_ASSERTIONS = (
    "type",
    "const",
    "enum",
    "required",
    "minProperties",
    "maxProperties",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "multipleOf",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
)
# What is left to be the cause when nothing else is.
_REMAINING = (
    "not",
    "contains",
    "propertyNames",
    "dependentRequired",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
)


class _Step(NamedTuple):
    """A part of the payload that a part of the schema is about."""

    schema: Pointer
    payload: Pointer
    value: Any


class _Fault(NamedTuple):
    schema: Pointer
    payload: Pointer
    what: str


class SchemaParts:
    """Validators for the schemas inside of a schema, each made when it is asked for."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.is_draft_7 = isinstance(root, dict) and "draft-07" in root.get("$schema", "")
        self._kind = (
            jsonschema_rs.Draft7Validator if self.is_draft_7 else jsonschema_rs.Draft202012Validator
        )
        self._registry = jsonschema_rs.Registry([(_URI, root)])
        self._made: dict[Pointer, jsonschema_rs.Validator | None] = {}

    def validator(self, place: Pointer) -> jsonschema_rs.Validator | None:
        """The validator for the schema at a place, or None when it cannot be had."""
        if place not in self._made:
            if len(self._made) >= _MOST_PARTS_KEPT:
                self._made.clear()
            self._made[place] = self._make(place)
        return self._made[place]

    def _make(self, place: Pointer) -> jsonschema_rs.Validator | None:
        try:
            return self._kind(
                {"$ref": f"{_URI}#{quote(pointer_text(place))}"},
                registry=self._registry,
                offline=True,
                validate_formats=False,
                pattern_options=PATTERN_OPTIONS,
            )
        except (jsonschema_rs.ValidationError, ValueError):
            return None


def find_fault(parts: SchemaParts, payload: Any, *, schema_size: int) -> str:
    """Where and why `payload` breaks a schema, as a sentence without any of its values.

    `schema_size` is what one value may have to be checked against, counted in schemas. Where the
    search would take too long, the place is one that holds the fault somewhere inside.
    """
    fault = _Search(parts, schema_size).fault(_Step((), (), payload), branches=0)
    where = f"At {_shown(fault.payload)}" if fault.payload else "At the payload's root"
    return f"{where}, {fault.what} (schema: #{_shown(fault.schema)})."


class _Search:
    def __init__(self, parts: SchemaParts, schema_size: int) -> None:
        self._parts = parts
        self._root = parts.root
        self._bytes_left = _MOST_WORK // schema_size

    def fault(self, step: _Step, *, branches: int) -> _Fault:
        """The fault in a step that is known to hold one."""
        while True:
            schema = value_at(self._root, step.schema)
            if schema is False:
                return _Fault(step.schema, step.payload, "nothing is allowed")
            what = None if self._only_refers(schema) else _own_fault(schema, step.value)
            if what is not None:
                return _Fault(step.schema, step.payload, what)
            deeper = next(filter(self._is_broken, self._next_steps(schema, step)), None)
            if deeper is None:
                return self._fault_of_branches(schema, step, branches=branches)
            step = deeper

    def _fault_of_branches(self, schema: Any, step: _Step, *, branches: int) -> _Fault:
        """The fault in a step whose other parts are all satisfied."""
        for keyword in ("anyOf", "oneOf"):
            choices = [
                _Step((*step.schema, keyword, str(index)), step.payload, step.value)
                for index, _ in enumerate(schema.get(keyword, ()))
            ]
            broken = [choice for choice in choices if self._is_broken(choice)]
            if choices and len(broken) == len(choices):
                # The branch that was meant is most likely the one that went well for longest.
                if branches < _MOST_BRANCHES:
                    faults = [self.fault(choice, branches=branches + 1) for choice in broken]
                    best = max(faults, key=lambda fault: len(fault.payload))
                    if len(best.payload) > len(step.payload) or len(choices) == 1:
                        return best
                return _Fault(
                    (*step.schema, keyword), step.payload, f'no branch of "{keyword}" is satisfied'
                )
            if keyword == "oneOf" and len(choices) - len(broken) > 1:
                return _Fault(
                    (*step.schema, keyword),
                    step.payload,
                    'more than one branch of "oneOf" is satisfied',
                )
        causes = " or ".join(f'"{keyword}"' for keyword in _REMAINING if keyword in schema)
        return _Fault(
            step.schema, step.payload, f"{causes or 'the schema'} is not satisfied by what is there"
        )

    def _is_broken(self, step: _Step) -> bool:
        """Whether a step holds a fault; False too when it is not known, or too much was asked."""
        if self._bytes_left < 0:
            return False
        self._bytes_left -= _BYTES_PER_QUESTION + _size(step.value)
        if self._bytes_left < 0:
            return False
        validator = self._parts.validator(step.schema)
        return validator is not None and not validator.is_valid(step.value)

    def _only_refers(self, schema: dict[str, Any]) -> bool:
        """Whether a `$ref` makes all other keywords beside it void, as in draft 7."""
        return "$ref" in schema and self._parts.is_draft_7

    def _next_steps(self, schema: dict[str, Any], step: _Step) -> Iterator[_Step]:
        """The steps that must all be satisfied for this one to be."""
        reference = unquote(schema.get("$ref", ""))
        if reference == "#" or reference.startswith("#/"):
            yield _Step(pointer_tokens(reference[1:]), step.payload, step.value)
        if self._only_refers(schema):
            return
        yield from self._steps_in_place(schema, step)
        if isinstance(step.value, dict):
            yield from _steps_into_object(schema, step, step.value)
        if isinstance(step.value, list):
            yield from _steps_into_array(schema, step, step.value)

    def _steps_in_place(self, schema: dict[str, Any], step: _Step) -> Iterator[_Step]:
        for index, _ in enumerate(schema.get("allOf", ())):
            yield _Step((*step.schema, "allOf", str(index)), step.payload, step.value)
        if "if" in schema:
            condition = _Step((*step.schema, "if"), step.payload, step.value)
            follows = "else" if self._is_broken(condition) else "then"
            if follows in schema:
                yield _Step((*step.schema, follows), step.payload, step.value)
        for keyword in ("dependentSchemas", "dependencies"):
            for name in schema.get(keyword, ()):
                if isinstance(step.value, dict) and name in step.value:
                    yield _Step((*step.schema, keyword, name), step.payload, step.value)


def _steps_into_object(
    schema: dict[str, Any], step: _Step, value: dict[str, Any]
) -> Iterator[_Step]:
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    for name, inner in value.items():
        inside = (*step.payload, name)
        if name in properties:
            yield _Step((*step.schema, "properties", name), inside, inner)
        matching = [pattern for pattern in patterns if _holds("pattern", pattern, name)]
        for pattern in matching:
            yield _Step((*step.schema, "patternProperties", pattern), inside, inner)
        if "additionalProperties" in schema and name not in properties and not matching:
            yield _Step((*step.schema, "additionalProperties"), inside, inner)


def _steps_into_array(schema: dict[str, Any], step: _Step, value: list[Any]) -> Iterator[_Step]:
    # Draft 7 has the list in `items` itself, and what follows it in `additionalItems`.
    listed, rest = "prefixItems", "items"
    if isinstance(schema.get("items"), list):
        listed, rest = "items", "additionalItems"
    count = len(schema.get(listed, ()))
    for index, inner in enumerate(value):
        inside = (*step.payload, str(index))
        if index < count:
            yield _Step((*step.schema, listed, str(index)), inside, inner)
        elif rest in schema:
            yield _Step((*step.schema, rest), inside, inner)


def _own_fault(schema: dict[str, Any], value: Any) -> str | None:
    """What is wrong with a value by itself, whatever the schema says about its parts."""
    for keyword in _ASSERTIONS:
        if keyword in schema and not _holds(keyword, schema[keyword], value):
            return _description(keyword, schema[keyword], value)
    return None


def _description(keyword: str, wanted: Any, value: Any) -> str:
    if keyword == "type":
        types = wanted if isinstance(wanted, list) else [wanted]
        return f"the type is not {' or '.join(types)}"
    if keyword == "required":
        missing = next(name for name in wanted if name not in value)
        return f'the property "{missing[:_MOST_SHOWN]}" is missing'
    return f'"{keyword}" is not satisfied'


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    return jsonschema_rs.is_valid(
        {keyword: wanted}, value, offline=True, pattern_options=PATTERN_OPTIONS
    )


def _size(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return _BYTES_OF_A_DEEP_VALUE


def _shown(pointer: Pointer) -> str:
    text = pointer_text(pointer)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
