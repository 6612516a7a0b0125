"""JSON Schemas of event types: which ones are kept, and what they say about payloads."""

import json
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest
from octohooks_server.api.schemas import (
    MAX_EXAMPLE_BYTES,
    MAX_SCHEMA_BYTES,
    Schema,
    SchemaProblem,
    example_problem,
)

DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def schema(value: Any) -> Schema:
    return Schema(orjson.dumps(value).decode())


def json_of(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def accepts(value: Schema, payload: Any) -> bool:
    return value.fault_of(json_of(payload)) is None


def problem(value: Any) -> str:
    with pytest.raises(SchemaProblem) as raised:
        Schema(value if isinstance(value, str) else orjson.dumps(value).decode())
    return str(raised.value)


def doubling(levels: int) -> dict[str, Any]:
    """Definitions that each refer to the next one twice, down to one that takes objects."""
    twice = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{levels}": {"type": "object"}}}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"not": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        True,
        {},
        {"type": "object"},
        {"$schema": DRAFT_2020, "prefixItems": [{"type": "string"}]},
        {"$schema": f"{DRAFT_2020}#"},
        {"$schema": DRAFT_7, "items": [{"type": "string"}], "additionalItems": False},
        {"$schema": DRAFT_7.removesuffix("#")},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"$ref": "#/x/y", "x": {"y": {"$ref": "#/x/z"}, "z": {}}},
        {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {}}},
        {"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}},
        {"$schema": DRAFT_7, "$ref": "#name", "definitions": {"a": {"$id": "#name"}}},
        {"$dynamicRef": "#name", "$defs": {"a": {"$dynamicAnchor": "name"}}},
        {
            "$id": "https://example.com/s",
            "$ref": "https://example.com/s#/$defs/a",
            "$defs": {"a": {}},
        },
        {"$id": "https://example.com/s", "$ref": "t", "$defs": {"a": {"$id": "t"}}},
        {"$id": "urn:example:s", "$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "https://example.com/s"}},
        {"properties": {"child": {"$ref": "#"}}},
        {"type": "object", "discriminator": {"propertyName": "kind"}, "example": 1},
    ],
    ids=str,
)
def test_good_schemas_are_taken(value: Any) -> None:
    schema(value).fault_of(b"{}")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("{", "line 1, column 2"),
        ("[]", "JSON object, true or false"),
        ('"string"', "JSON object, true or false"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "At /$schema"),
        ({"$schema": "https://example.com/own"}, "At /$schema"),
        ({"$schema": 7}, "At /$schema"),
        ({"properties": {"a/b": {"type": "strin"}}}, "At /properties/a~1b/type"),
        ({"properties": {"a": {"pattern": "("}}}, "At /properties/a/pattern"),
        ({"required": "id"}, "At /required: this must be of type array"),
        ({"properties": {"a": {"minimum": "1"}}}, "At /properties/a/minimum"),
        ({"allOf": []}, "At /allOf"),
    ],
    ids=str,
)
def test_a_wrong_schema_is_told_with_its_place(value: Any, place: str) -> None:
    assert place in problem(value)


@pytest.mark.parametrize(
    "reference",
    [
        "#/$defs/missing",
        "#missing",
        "other.json",
        "https://example.com/schema",
        DRAFT_7,
        "//example.com/schema",
        "urn:example:other",
        "http://[",
        "#/properties/a/title",
    ],
)
def test_a_reference_out_of_the_schema_is_refused(reference: str) -> None:
    wrong = problem({"properties": {"a": {"$ref": reference, "title": "t"}}})

    assert "At /properties/a/$ref" in wrong


def test_nothing_is_ever_fetched(tmp_path: Path) -> None:
    """Neither over the network nor from the disk, wherever the reference stands."""
    file = tmp_path / "schema.json"
    file.write_text("true")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        for target in (f"http://127.0.0.1:{listener.getsockname()[1]}/s", file.as_uri()):
            fetching: list[Any] = [
                {"$ref": target},
                {"$dynamicRef": target},
                {"$id": target, "$ref": "other"},
                {"properties": {"a": {"allOf": [{"$ref": f"{target}#/$defs/a"}]}}},
                {"$defs": {"unused": {"$ref": target}}},
                {"$ref": "#/own/a", "own": {"a": {"$ref": target}}},
                {"$schema": target},
            ]
            for value in fetching:
                assert problem(value)
            # A schema may have any ID and hold any text; none of it is looked up.
            harmless: list[Any] = [
                {"$id": target, "type": "object"},
                {"$defs": {"a": {"$id": target, "$schema": DRAFT_2020}}},
                {"const": {"$ref": target}},
                {"$vocabulary": {target: True}},
            ]
            for value in harmless:
                schema(value).fault_of(b"{}")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_schema_has_at_most_64_kibibytes() -> None:
    padding = MAX_SCHEMA_BYTES - len('{"title":""}')

    assert accepts(schema({"title": "x" * padding}), 1)
    assert "65,537 bytes" in problem({"title": "x" * (padding + 1)})
    assert "bytes" in problem({"title": "é" * (padding // 2 + 1)})


def test_a_schema_nests_at_most_150_levels() -> None:
    assert accepts(schema(nested(148)), {})
    assert not accepts(schema(nested(149)), {})
    assert "150 levels" in problem(nested(150))


def test_a_schema_that_would_take_for_ever_is_refused() -> None:
    assert accepts(schema(doubling(11)), {})
    assert "too intricate" in problem(doubling(13))
    assert "too intricate" in problem(doubling(500))


def test_a_long_chain_of_references_is_refused() -> None:
    chain = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(1500)}

    assert "too intricate" in problem({"$ref": "#/$defs/d0", "$defs": {**chain, "d1500": {}}})


def test_recursion_costs_no_more_than_its_payload() -> None:
    both = {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}
    tree = schema({"properties": {"a": both, "b": both}})
    payload: Any = {}
    for _ in range(500):
        payload = {"a": payload}

    assert accepts(tree, payload)


def test_a_regular_expression_that_backtracks_for_ever_matches_nothing() -> None:
    catastrophic = schema({"items": {"pattern": r"^((a+)(?=b?))+$"}})

    assert accepts(catastrophic, ["aaa"])
    assert not accepts(catastrophic, ["a" * 5_000 + "!"])


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^(?!\s*$).+", "a b", "  "),
        (r"^(?=.*[A-Z])(?=.*\d).{8,}$", "Abcdefg1" * 50, "abcdefg1" * 50),
        (r"^(\w+)-\1$", "abc-abc", "abc-abd"),
        (r"^\p{L}+$", "Jürgen", "J1"),
    ],
)
def test_usual_regular_expressions_work(pattern: str, good: str, bad: str) -> None:
    assert accepts(schema({"pattern": pattern}), good)
    assert not accepts(schema({"pattern": pattern}), bad)


def test_a_regular_expression_that_backtracks_counts_for_many_schemas() -> None:
    """It can take a hundred microseconds for each of thousands of strings."""
    payload = ["ab"] * 60_000
    linear = {"items": {"allOf": [{"pattern": "^a+b$"}] * 100}}
    backtracking = {"items": {"allOf": [{"pattern": "^(?!b)a+b$"}] * 100}}

    assert accepts(schema(linear), payload)
    told = str(schema(backtracking).fault_of(json_of(payload)))
    assert "too large to be checked" in told
    assert accepts(schema(backtracking), payload[:1_000])


@pytest.mark.parametrize("dialect", [DRAFT_2020, DRAFT_7])
def test_a_format_documents_and_is_not_checked(dialect: str) -> None:
    assert accepts(schema({"$schema": dialect, "format": "email"}), "no address")


def test_the_drafts_differ_where_they_differ() -> None:
    beside = {"$ref": "#/definitions/any", "type": "null", "definitions": {"any": {}}}

    assert not accepts(schema(beside), 1)
    assert accepts(schema({"$schema": DRAFT_7, **beside}), 1)


def test_a_payload_that_would_take_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library cannot be interrupted, and nothing else in the process goes on meanwhile."""
    wide = schema({"items": {"allOf": [{"type": "string"}] * 3_000}})

    assert wide.fault_of(json_of(["x"] * 1_000)) is None
    # It is not even begun with.
    monkeypatch.setattr(wide, "_validator", None)
    assert "too large to be checked" in str(wide.fault_of(json_of(["x"] * 80_000)))


def test_an_example_is_json_that_satisfies_the_schema() -> None:
    number = schema({"type": "number"})

    assert example_problem(number, "1.5") is None
    assert example_problem(None, '"anything"') is None
    assert "line 1, column 1" in str(example_problem(None, "nothing"))
    assert "the type is not number" in str(example_problem(number, '"1.5"'))


def test_an_example_has_at_most_64_kibibytes() -> None:
    assert example_problem(None, '"' + "x" * (MAX_EXAMPLE_BYTES - 2) + '"') is None
    assert "65,537 bytes" in str(example_problem(None, '"' + "x" * (MAX_EXAMPLE_BYTES - 1) + '"'))
