"""OpenAPI documents: which event types their webhooks describe."""

import json
from typing import Any

import pytest
from octohooks.v1.event_type_pb2 import EventType
from octohooks_server.api.event_type_import import read_event_types
from octohooks_server.api.openapi import MAX_DOCUMENT_BYTES
from octohooks_server.api.schemas import Schema
from octohooks_server.errors import InvalidArgument

INVOICES = """
openapi: 3.1.0
info: {title: Invoices, version: "1"}
webhooks:
  invoice.paid:
    post:
      summary: An invoice was paid.
      requestBody:
        content:
          application/json:
            schema:
              $ref: "#/components/schemas/Invoice"
            examples:
              small: {value: {id: in_1, lines: [], country: no}}
              large: {$ref: "#/components/examples/Large"}
  customer.created:
    $ref: "#/components/pathItems/CustomerCreated"
components:
  schemas:
    Invoice:
      type: object
      required: [id]
      properties:
        id: {type: string}
        lines: {type: array, items: {$ref: "#/components/schemas/Line"}}
        country: {type: string}
    Line:
      type: object
      properties:
        amount: {type: integer}
        of: {$ref: "#/components/schemas/Invoice/properties/id"}
        parts: {type: array, items: {$ref: "#/components/schemas/Line"}}
    Unused: {type: string}
  examples:
    Large: {value: {id: in_2, lines: [{amount: 1, parts: [{amount: 2}]}]}}
  pathItems:
    CustomerCreated:
      description: A customer was created.
      post: {requestBody: {$ref: "#/components/requestBodies/Customer"}}
  requestBodies:
    Customer:
      content:
        application/json; charset=utf-8:
          schema: {type: object, example: {name: Acme}}
"""


def document(**webhooks: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "webhooks": webhooks}


def webhook(schema: Any = None, **media: Any) -> dict[str, Any]:
    if schema is not None:
        media["schema"] = schema
    return {"post": {"requestBody": {"content": {"application/json": media}}}}


def imported(value: Any) -> dict[str, EventType]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {event_type.name: event_type for event_type in read_event_types(text)}


def schema_of(schema: Any, **document_parts: Any) -> Any:
    """The schema of an event type, whose webhook has this one."""
    made = imported({**document(a=webhook(schema)), **document_parts})
    return json.loads(made["a"].schema)


def accepts(event_type: EventType, payload: Any) -> bool:
    return Schema(event_type.schema).fault_of(json.dumps(payload).encode()) is None


def problems(value: Any) -> list[str]:
    with pytest.raises(InvalidArgument) as raised:
        imported(value)
    assert raised.value.reason == "INVALID_FIELD"
    assert {field for field, _ in raised.value.violations} == {"document"}
    return [description for _, description in raised.value.violations]


def test_each_webhook_becomes_an_event_type() -> None:
    made = imported(INVOICES)

    assert list(made) == ["invoice.paid", "customer.created"]
    paid, created = made.values()
    assert paid.description == "An invoice was paid."
    assert created.description == "A customer was created."
    assert [json.loads(example) for example in paid.examples] == [
        {"id": "in_1", "lines": [], "country": "no"},
        {"id": "in_2", "lines": [{"amount": 1, "parts": [{"amount": 2}]}]},
    ]
    assert [json.loads(example) for example in created.examples] == [{"name": "Acme"}]


def test_a_schema_takes_along_what_it_refers_to_and_nothing_else() -> None:
    paid = imported(INVOICES)["invoice.paid"]

    assert json.loads(paid.schema) == {
        "$ref": "#/$defs/Invoice",
        "$defs": {
            "Invoice": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                    "country": {"type": "string"},
                },
            },
            "Line": {
                "type": "object",
                "properties": {
                    "amount": {"type": "integer"},
                    "of": {"$ref": "#/$defs/Invoice/properties/id"},
                    "parts": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                },
            },
        },
    }
    assert accepts(paid, {"id": "in_1", "lines": [{"parts": [{"amount": 1}]}]})
    assert not accepts(paid, {"id": "in_1", "lines": [{"parts": [{"amount": "1"}]}]})
    assert not accepts(paid, {"id": "in_1", "lines": [{"of": 1}]})


def test_the_same_document_as_json_says_the_same() -> None:
    value = {**document(a=webhook({"type": "string"}, example="x")), "info": {"title": "é"}}

    assert imported(json.dumps(value)) == imported(json.dumps(value, ensure_ascii=False, indent=2))
    (made,) = imported(value).values()
    assert made == EventType(name="a", schema='{"type":"string"}', examples=['"x"'])


def test_a_webhook_without_a_body_has_no_schema() -> None:
    assert imported(document(a={"post": {}}))["a"] == EventType(name="a")
    assert imported(document(a=webhook()))["a"] == EventType(name="a")


@pytest.mark.parametrize(
    ("item", "description"),
    [
        ({"post": {"summary": "s", "description": "d"}, "summary": "S"}, "d"),
        ({"post": {"summary": "s"}, "description": "D"}, "s"),
        ({"post": {}, "summary": "S", "description": "D"}, "D"),
        ({"post": {}, "summary": "S"}, "S"),
        ({"post": {}}, ""),
    ],
    ids=["description", "summary", "of the path", "summary of the path", "none"],
)
def test_the_description_is_the_most_telling_there_is(item: Any, description: str) -> None:
    assert imported(document(a=item))["a"].description == description


@pytest.mark.parametrize(
    ("media", "examples"),
    [
        ({"example": 1, "examples": {"b": {"value": 2}}}, ["1"]),
        ({"example": None}, ["null"]),
        ({"examples": {"b": {"value": 2}, "c": {"value": 3}}}, ["2", "3"]),
        ({"examples": {"b": {"externalValue": "https://example.com/b.json"}}}, []),
        ({"schema": {"examples": [1, 2], "example": 3}}, ["1", "2"]),
        ({"schema": {"example": 3}}, ["3"]),
        ({"schema": {"$ref": "#/components/schemas/A"}}, ["4"]),
        ({"schema": {"type": "integer", "properties": {"b": {"example": 5}}}}, []),
        ({"schema": {"$ref": "#/components/schemas/Any"}}, []),
    ],
    ids=[
        "one",
        "null",
        "several",
        "elsewhere",
        "several of the schema",
        "one of the schema",
        "one of what it refers to",
        "none of its parts",
        "none of a schema that takes anything",
    ],
)
def test_examples_are_those_beside_the_schema_or_else_in_it(
    media: Any, examples: list[str]
) -> None:
    value = document(a=webhook(**media)) | {
        "components": {"schemas": {"A": {"example": 4}, "Any": True}}
    }

    assert list(imported(value)["a"].examples) == examples


def test_references_to_places_without_a_name_get_one() -> None:
    schema = {
        "$defs": {"schema": {"type": "null"}},
        "properties": {
            "b": {"$ref": "#/webhooks/b/post/requestBody/content/application~1json/schema"},
            "c": {"$ref": "#/x-shared/schema"},
        },
    }
    value = document(a=webhook(schema), b=webhook({"type": "integer"}))

    made = imported(value | {"x-shared": {"schema": {"type": "boolean"}}})["a"]

    assert list(json.loads(made.schema)["$defs"]) == ["schema", "schema_2", "schema_3"]
    assert accepts(made, {"b": 1, "c": True})
    assert not accepts(made, {"b": True, "c": True})
    assert not accepts(made, {"b": 1, "c": 1})


def test_names_that_pointers_escape_are_found_again() -> None:
    components = {"components": {"schemas": {"A b/c~ü": {"type": "integer"}}}}
    schema = {"properties": {"a": {"$ref": "#/components/schemas/A%20b~1c~0%C3%BC"}}}

    made = imported(document(a=webhook(schema)) | components)["a"]

    assert accepts(made, {"a": 1})
    assert not accepts(made, {"a": ""})


def test_only_schemas_are_looked_into_for_references() -> None:
    schema = {
        "enum": [{"$ref": "#/nowhere"}],
        "default": {"$ref": "#/nowhere"},
        "properties": {"$ref": {"type": "string"}},
    }

    assert schema_of(schema) == schema


def test_a_schema_with_an_id_keeps_its_own_references() -> None:
    own = {"$id": "https://example.com/a", "$ref": "#/$defs/b", "$defs": {"b": {"type": "null"}}}

    assert schema_of(own) == own
    assert schema_of({"properties": {"a": own}}) == {"properties": {"a": own}}


def test_a_document_may_speak_draft_7() -> None:
    draft_7 = "http://json-schema.org/draft-07/schema#"
    made = schema_of(
        {"$ref": "#/components/schemas/A"},
        jsonSchemaDialect=draft_7,
        components={"schemas": {"A": {"items": [{"type": "string"}]}}},
    )

    assert made == {
        "$schema": draft_7,
        "$ref": "#/definitions/A",
        "definitions": {"A": {"items": [{"type": "string"}]}},
    }


def test_the_dialect_of_openapi_itself_is_draft_2020_12() -> None:
    dialect = "https://spec.openapis.org/oas/3.1/dialect/base"

    assert schema_of({"type": "null"}, jsonSchemaDialect=dialect) == {"type": "null"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{", "not valid JSON (line 1, column 2)"),
        ("a: b: c", "line 1, column 5"),
        ("openapi: 3.1.0\nopenapi: 3.1.0", "comes twice (line 2, column 1)"),
        ("just text", "no object"),
        ("[]", "no object"),
        ({}, "At /openapi:"),
        ({"openapi": 3.1}, "At /openapi:"),
        ({"openapi": "3.0.3"}, "At /openapi:"),
        ({"swagger": "2.0"}, "At /openapi:"),
        ({"openapi": "3.1.0"}, "At /webhooks: the document describes no webhooks"),
        ({"openapi": "3.1.0", "webhooks": {}}, "At /webhooks:"),
        ({"openapi": "3.1.0", "webhooks": []}, "At /webhooks: this must be an object"),
        (document(a=webhook()) | {"jsonSchemaDialect": "https://x.y/z"}, "At /jsonSchemaDialect:"),
        (document(a=1), "At /webhooks/a: this must be an object"),
        (document(a={"get": {}}), "At /webhooks/a: the webhook has no POST operation"),
        (document(a={"post": []}), "At /webhooks/a/post:"),
        (document(a={"post": {"summary": 1}}), "At /webhooks/a/post/summary: this must be text"),
        (document(a={"post": {"requestBody": 1}}), "At /webhooks/a/post/requestBody:"),
        (
            document(a={"post": {"requestBody": {"content": {"text/xml": {}}}}}),
            "At /webhooks/a/post/requestBody/content:",
        ),
        (
            document(a=webhook("string")),
            "At /webhooks/a/post/requestBody/content/application~1json/schema: this is no schema",
        ),
        (document(a=webhook({"examples": 1})), "/schema/examples: this must be a list"),
        (document(a=webhook(examples=[])), "/application~1json/examples: this must be an object"),
        (document(a={"$ref": "#/components/pathItems/A"}), "At /webhooks/a/$ref:"),
        (document(a={"$ref": "https://example.com/a"}), "must point into the document itself"),
        (document(a={"$ref": "#/webhooks/a"}), "go in a circle"),
        (
            document(a=webhook({"items": {"$ref": "other.yaml#/A"}})),
            "/schema/items/$ref: references must point into the document itself",
        ),
        (
            document(a=webhook({"items": {"$ref": "#/components/schemas/A"}})),
            "/schema/items/$ref: the reference leads to nothing",
        ),
        (document(a=webhook({"items": {"$ref": "#/openapi"}})), "to something that is no schema"),
        (
            document(a=webhook({"$ref": "#/components/schemas/A"}))
            | {"components": {"schemas": {"A": {"items": {"$ref": "x.json"}}}}},
            "At /components/schemas/A/items/$ref:",
        ),
        (document(a=webhook({"type": "strin"})), "The schema of the webhook 'a': At /type:"),
        (
            document(a=webhook({"type": "string"}, example=1)),
            "The examples[0] of the webhook 'a': The example breaks the schema.",
        ),
        (
            document(a=webhook(examples={str(n): {"value": n} for n in range(11)})),
            "The examples of the webhook 'a': There are at most 10",
        ),
        (document(a=webhook({"title": "x" * 65_536})), "The schema has 65,5"),
        (document(a={"post": {"description": "x" * 4097}}), "At most 4,096 characters"),
        (document(**{"in voice": webhook()}), "The webhook 'in voice' cannot be an event type."),
        (document(**{"": webhook()}), "The webhook '' cannot be an event type."),
    ],
    ids=lambda value: str(value)[:70],
)
def test_what_is_wrong_is_told_with_its_place(value: Any, problem: str) -> None:
    (told,) = problems(value)

    assert problem in told


def test_the_problems_of_all_webhooks_are_told_at_once() -> None:
    told = problems(document(a=1, b=webhook(), c={"get": {}}))

    assert [one.partition(":")[0] for one in told] == ["At /webhooks/a", "At /webhooks/c"]


def test_no_more_problems_are_told_than_fit_into_an_answer() -> None:
    assert len(problems(document(**{f"w{number}": 1 for number in range(300)}))) == 10


def test_a_document_has_at_most_one_mebibyte() -> None:
    text = json.dumps(document(a=webhook()))
    room = MAX_DOCUMENT_BYTES - len(text)

    assert list(imported(text + " " * room)) == ["a"]
    assert "1,048,577 bytes" in problems(text + " " * (room + 1))[0]


def test_a_document_nests_at_most_100_levels() -> None:
    value: Any = 1
    for _ in range(98):
        value = [value]

    assert imported(document(a=webhook()) | {"x": [value]})
    assert "100 levels" in problems(document(a=webhook()) | {"x": [[value]]})[0]


def test_a_document_describes_at_most_400_webhooks() -> None:
    many = {f"w{number}": webhook() for number in range(400)}

    assert len(imported(document(**many))) == 400
    assert "more than 400" in problems(document(**many, one_more=webhook()))[0]


def test_a_short_document_that_makes_large_schemas_is_refused() -> None:
    """The answer holds them all."""
    shared = {"components": {"schemas": {"A": {"title": "x" * 60_000}}}}
    many = {f"w{number}": webhook({"$ref": "#/components/schemas/A"}) for number in range(40)}

    assert "more than 2 MiB" in problems(document(**many) | shared)[0]


def test_components_that_refer_to_each_other_in_circles_take_no_time() -> None:
    """Followed to the end of each path, they would take for ever."""
    names = [f"S{number}" for number in range(60)]
    everything = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}
    shared = {"components": {"schemas": {name: {"items": everything} for name in names}}}

    (told,) = problems(document(a=webhook({"$ref": "#/components/schemas/S0"})) | shared)

    assert "too intricate" in told or "bytes" in told
