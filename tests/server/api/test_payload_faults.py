"""Where a payload breaks a schema, as a caller is told."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.api.schemas import Schema

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
SECRET = "4242 4242 4242 4242"


def fault(schema: Any, payload: Any) -> str:
    compiled = Schema(orjson.dumps(schema).decode())
    told = compiled.fault_of(json.dumps(payload).encode())
    assert told is not None
    return told


EXPRESSION = {
    "$ref": "#/$defs/expression",
    "$defs": {
        "expression": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {
                        "op": {"const": op},
                        "of": {"type": "array", "items": {"$ref": "#/$defs/expression"}},
                    },
                    "required": ["op", "of"],
                }
                for op in ("and", "or", "not")
            ]
            + [{"type": "string"}]
        }
    },
}


def expression(levels: int, innermost: Any) -> Any:
    value = innermost
    for _ in range(levels):
        value = {"op": "or", "of": [value]}
    return value


@pytest.mark.parametrize(
    ("schema", "payload", "where"),
    [
        ({"type": "object"}, [], "At the payload's root, the type is not object (schema: #)."),
        (
            {"properties": {"a/b": {"type": ["string", "null"]}}},
            {"a/b": 1},
            "At /a~1b, the type is not string or null (schema: #/properties/a~1b).",
        ),
        (
            {"properties": {"lines": {"items": {"required": ["id", "sku"]}}}},
            {"lines": [{"id": 1, "sku": 1}, {"id": 1}]},
            'At /lines/1, the property "sku" is missing (schema: #/properties/lines/items).',
        ),
        ({"properties": {"n": {"maximum": 3}}}, {"n": 4}, 'At /n, "maximum" is not satisfied'),
        ({"additionalProperties": False}, {"x": 1}, "At /x, nothing is allowed"),
        (
            {"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": False},
            {"x-a": "", "x-b": 1},
            "At /x-b, the type is not string",
        ),
        ({"prefixItems": [{}, {"type": "null"}]}, [1, 2], "At /1, the type is not null"),
        (
            {"$schema": DRAFT_7, "items": [{}], "additionalItems": {"type": "null"}},
            [1, 2],
            "At /1, the type is not null (schema: #/additionalItems)",
        ),
        (
            {"$schema": DRAFT_7, "$ref": "#/definitions/a", "definitions": {"a": {"type": "null"}}},
            1,
            "the type is not null (schema: #/definitions/a)",
        ),
        (
            {"allOf": [{}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"minLength": 2}}},
            "x",
            '"minLength" is not satisfied (schema: #/$defs/a)',
        ),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
            {"a": 1},
            'the property "b" is missing (schema: #/then)',
        ),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}},
            {},
            'the property "c" is missing (schema: #/else)',
        ),
        (
            {"dependentSchemas": {"a": {"required": ["b"]}}},
            {"a": 1},
            'the property "b" is missing (schema: #/dependentSchemas/a)',
        ),
        ({"not": {"type": "string"}}, "x", '"not" is not satisfied'),
        ({"contains": {"type": "string"}}, [1], '"contains" is not satisfied'),
        ({"unevaluatedProperties": False}, {"a": 1}, '"unevaluatedProperties" is not satisfied'),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, 1, 'no branch of "anyOf" is satisfied'),
        ({"oneOf": [{}, {"type": "string"}]}, "x", 'more than one branch of "oneOf" is satisfied'),
        (
            {
                "anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}],
                "$defs": {"a": {"properties": {"n": {"maximum": 3}}}},
            },
            {"n": 4},
            'At /n, "maximum" is not satisfied',
        ),
        (False, 1, "At the payload's root, nothing is allowed"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_fault_is_told_with_its_place_and_cause(schema: Any, payload: Any, where: str) -> None:
    assert where in fault(schema, payload)


def test_in_a_choice_the_branch_that_was_meant_is_told() -> None:
    told = fault(EXPRESSION, expression(3, {"op": "and", "of": ["a", 1]}))

    assert told.startswith("At /of/0/of/0/of/0/of/1,")


def test_a_deep_choice_takes_no_long_search() -> None:
    """The library's own errors take half a minute for ten levels."""
    deep = expression(300, 1)

    told = fault(EXPRESSION, deep)

    assert told.startswith("At /of/0")


def test_a_large_payload_takes_no_long_search() -> None:
    """A longer one tells which of its values is wrong."""
    branches = [{"items": {"minimum": number}} for number in range(1, 500)]
    payload = [0.5] * 80_000

    assert fault({"anyOf": branches}, payload).startswith("At the payload's root")
    assert fault({"anyOf": branches[:2]}, payload).startswith("At /0")


def test_a_fault_far_down_a_long_list_is_found() -> None:
    assert fault({"items": {"type": "integer"}}, [*range(5_000), "x"]).startswith("At /5000,")


def test_a_long_place_is_cut() -> None:
    told = fault({"additionalProperties": {"type": "null"}}, {"k" * 100_000: 1})

    assert len(told) < 600


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"card": {"type": "integer"}}},
        {"properties": {"card": {"const": "other"}}},
        {"properties": {"card": {"enum": ["a", "b"]}}},
        {"properties": {"card": {"pattern": "^x"}}},
        {"properties": {"card": {"maxLength": 3}}},
        {"properties": {"card": {"anyOf": [{"type": "null"}, {"minLength": 100}]}}},
        {"properties": {"card": {"not": {}}}},
        {"properties": {"card": False}},
        {"required": ["missing"]},
        {"const": 1},
        {"type": "string"},
    ],
    ids=str,
)
def test_no_value_of_a_payload_is_told(schema: Any) -> None:
    told = fault(schema, {"card": SECRET, "cards": [SECRET]})

    assert SECRET not in told
    assert "4242" not in told


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
_types = st.sampled_from(["null", "boolean", "integer", "string", "array", "object"])
_leaves = (
    st.booleans()
    | st.builds(lambda kind: {"type": kind}, _types)
    | st.builds(lambda number: {"minimum": number}, st.integers(-3, 3))
    | st.builds(lambda value: {"const": value}, _values)
    | st.builds(lambda name: {"required": [name]}, st.text("ab", max_size=2))
    | st.just({"$ref": "#/$defs/shared"})
)
_keywords = st.sampled_from(["allOf", "anyOf", "oneOf", "prefixItems"])
_schemas = st.recursive(
    _leaves,
    lambda inner: (
        st.builds(
            lambda keyword, some: {keyword: some},
            _keywords,
            st.lists(inner, min_size=1, max_size=3),
        )
        | st.builds(
            lambda some: {"properties": some}, st.dictionaries(st.text("ab", max_size=2), inner)
        )
        | st.builds(
            lambda keyword, one: {keyword: one},
            st.sampled_from(["items", "not", "contains", "additionalProperties", "propertyNames"]),
            inner,
        )
        | st.builds(
            lambda one, two, three: {"if": one, "then": two, "else": three}, inner, inner, inner
        )
        | st.builds(
            lambda one, two: {
                **(one if isinstance(one, dict) else {}),
                **(two if isinstance(two, dict) else {}),
            },
            inner,
            inner,
        )
    ),
    max_leaves=12,
)


@given(schema=_schemas, shared=_schemas, payload=_values)
def test_every_fault_has_a_place_that_is_in_the_payload(
    schema: Any, shared: Any, payload: Any
) -> None:
    root = {"allOf": [schema], "$defs": {"shared": shared}}
    compiled = Schema(orjson.dumps(root).decode())

    told = compiled.fault_of(orjson.dumps(payload))

    if told is None:
        return
    place = told.removeprefix("At ").partition(", ")[0]
    value = payload
    for token in [] if place == "the payload's root" else place.split("/")[1:]:
        value = value[int(token) if isinstance(value, list) else token]
