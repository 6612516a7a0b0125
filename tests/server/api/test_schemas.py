"""JSON Schemas of event types: which ones are kept, and what they say about payloads."""

import asyncio
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
    assert schema(value).accepts({}) in (True, False)


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
            for value in (
                {"$ref": target},
                {"$dynamicRef": target},
                {"$id": target, "$ref": "other"},
                {"properties": {"a": {"allOf": [{"$ref": f"{target}#/$defs/a"}]}}},
                {"$defs": {"unused": {"$ref": target}}},
                {"$ref": "#/own/a", "own": {"a": {"$ref": target}}},
                {"$schema": target},
            ):
                assert problem(value)
            # A schema may have any ID and hold any text; none of it is looked up.
            for value in (
                {"$id": target, "type": "object"},
                {"$defs": {"a": {"$id": target, "$schema": DRAFT_2020}}},
                {"const": {"$ref": target}},
                {"$vocabulary": {target: True}},
            ):
                assert schema(value).accepts({}) in (True, False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_schema_has_at_most_64_kibibytes() -> None:
    padding = MAX_SCHEMA_BYTES - len('{"title":""}')

    assert schema({"title": "x" * padding}).accepts(1)
    assert "65,537 bytes" in problem({"title": "x" * (padding + 1)})
    assert "bytes" in problem({"title": "é" * (padding // 2 + 1)})


def test_a_schema_nests_at_most_200_levels() -> None:
    assert schema(nested(199)).accepts({}) in (True, False)
    assert "200 levels" in problem(nested(200))


def test_a_schema_that_would_take_for_ever_is_refused() -> None:
    assert schema(doubling(12)).accepts({})
    assert "too intricate" in problem(doubling(14))
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

    assert tree.accepts(payload)


def test_a_regular_expression_that_backtracks_for_ever_matches_nothing() -> None:
    catastrophic = schema({"items": {"pattern": r"^((a+)(?=b?))+$"}})

    assert catastrophic.accepts(["aaa"])
    assert not catastrophic.accepts(["a" * 5_000 + "!"])


@pytest.mark.parametrize("dialect", [DRAFT_2020, DRAFT_7])
def test_a_format_documents_and_is_not_checked(dialect: str) -> None:
    assert schema({"$schema": dialect, "format": "email"}).accepts("no address")


def test_the_drafts_differ_where_they_differ() -> None:
    beside = {"$ref": "#/definitions/any", "type": "null", "definitions": {"any": {}}}

    assert not schema(beside).accepts(1)
    assert schema({"$schema": DRAFT_7, **beside}).accepts(1)


async def test_a_long_check_leaves_the_interpreter_to_others() -> None:
    """Or one tenant's schema would hold up everybody."""
    slow = schema({"items": {"allOf": [{"type": "string"}] * 2_000}})
    payload = ["x"] * 50_000
    checking = asyncio.get_running_loop().run_in_executor(None, slow.accepts, payload)

    turns = 0
    while not checking.done():
        turns += 1
        await asyncio.sleep(0)

    assert await checking
    assert turns > 1_000


def test_an_example_is_json_that_satisfies_the_schema() -> None:
    number = schema({"type": "number"})

    assert example_problem(number, "1.5") is None
    assert example_problem(None, '"anything"') is None
    assert "line 1, column 1" in str(example_problem(None, "nothing"))
    assert "the type is not number" in str(example_problem(number, '"1.5"'))


def test_an_example_has_at_most_64_kibibytes() -> None:
    assert example_problem(None, '"' + "x" * (MAX_EXAMPLE_BYTES - 2) + '"') is None
    assert "65,537 bytes" in str(example_problem(None, '"' + "x" * (MAX_EXAMPLE_BYTES - 1) + '"'))
