"""OpenAPI 3.1 documents: the webhooks that they describe, as event types.

Each entry of `webhooks` is one event type. Its schema is that of the JSON body of its POST request,
made self-contained: what the schema refers to elsewhere in the document is put into its `$defs`.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import orjson
from octohooks.v1.event_type_pb2 import EventType

from octohooks_server.api.schema_structure import (
    Pointer,
    is_schema,
    nesting,
    parts,
    pointer_text,
    pointer_tokens,
    value_at,
)
from octohooks_server.api.yaml_documents import MOST_NESTING, YamlProblem, read_yaml

MAX_DOCUMENT_BYTES = 1024 * 1024
# How often one object may refer on to the next.
_MOST_HOPS = 20
_DRAFT_7 = "http://json-schema.org/draft-07/schema"
_DIALECTS = {
    "https://spec.openapis.org/oas/3.1/dialect/base",
    "https://json-schema.org/draft/2020-12/schema",
    _DRAFT_7,
}


class OpenApiProblem(Exception):
    """What is wrong with a document, as a sentence that says where."""


def parse_document(text: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document in JSON or YAML text, or OpenApiProblem."""
    size = len(text.encode())
    if size > MAX_DOCUMENT_BYTES:
        raise OpenApiProblem(
            f"The document has {size:,} bytes and may have {MAX_DOCUMENT_BYTES:,}."
        )
    document = _read(text)
    if not isinstance(document, dict):
        raise OpenApiProblem("The document is no object.")
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith("3.1."):
        raise _at(("openapi",), "the document must be of version 3.1 of OpenAPI.")
    dialect = document.get("jsonSchemaDialect", _DRAFT_7)
    if not isinstance(dialect, str) or dialect.removesuffix("#") not in _DIALECTS:
        raise _at(("jsonSchemaDialect",), "only drafts 2020-12 and 7 of JSON Schema are known.")
    if not isinstance(document.get("webhooks", {}), dict):
        raise _at(("webhooks",), "this must be an object.")
    if not document.get("webhooks"):
        raise _at(("webhooks",), "the document describes no webhooks.")
    return document


def event_types_of(document: dict[str, Any]) -> Iterator[tuple[str, EventType | OpenApiProblem]]:
    """The names of the webhooks of a parsed document, each with its event type or its problem.

    Neither names nor contents are checked here against the limits of event types.
    """
    for name, item in document["webhooks"].items():
        try:
            yield name, _Webhook(document, name, item).event_type()
        except OpenApiProblem as problem:
            yield name, problem


class _Webhook:
    """One webhook of a document."""

    def __init__(self, document: dict[str, Any], name: str, item: Any) -> None:
        self._document = document
        self._name = name
        self._item, self._place = self._object(item, ("webhooks", name))

    def event_type(self) -> EventType:
        """What the webhook describes."""
        operation, place = self._member(self._item, "post", self._place)
        if operation is None:
            raise _at(self._place, "the webhook has no POST operation.")
        event_type = EventType(name=self._name, description=self._description(operation, place))
        body, place = self._member(operation, "requestBody", place)
        if body is None:
            return event_type
        content, place = self._member(body, "content", place)
        media, place = self._json(content or {}, place)
        schema = media.get("schema")
        if schema is not None:
            if not is_schema(schema):
                raise _at((*place, "schema"), "this is no schema.")
            own = _SelfContained(self._document, schema, (*place, "schema")).schema()
            event_type.schema = _json_text(own, (*place, "schema"))
        event_type.examples.extend(
            _json_text(example, place) for example in self._examples(media, place)
        )
        return event_type

    def _description(self, operation: dict[str, Any], place: Pointer) -> str:
        for owner, where in ((operation, place), (self._item, self._place)):
            for member in ("description", "summary"):
                text = owner.get(member)
                if text is not None and not isinstance(text, str):
                    raise _at((*where, member), "this must be text.")
                if text:
                    return str(text)
        return ""

    def _json(self, content: dict[str, Any], place: Pointer) -> tuple[dict[str, Any], Pointer]:
        """The media type object for JSON."""
        for name in content:
            if name.partition(";")[0].strip().lower() == "application/json":
                media, place = self._member(content, name, place)
                return media or {}, place
        raise _at(place, "the request body has no content of the type application/json.")

    def _examples(self, media: dict[str, Any], place: Pointer) -> list[Any]:
        """The examples beside the schema, or else those in it."""
        if "example" in media:
            return [media["example"]]
        named, place_of_named = self._member(media, "examples", place)
        if named is not None:
            # An external value lies outside of the document, where nothing is fetched from.
            members = [self._member(named, name, place_of_named)[0] or {} for name in named]
            return [member["value"] for member in members if "value" in member]
        return self._examples_in(media.get("schema"), (*place, "schema"))

    def _examples_in(self, schema: Any, place: Pointer) -> list[Any]:
        """The examples in a schema, or else in what it refers to."""
        for _ in range(_MOST_HOPS):
            if not isinstance(schema, dict):
                return []
            if "examples" in schema:
                if not isinstance(schema["examples"], list):
                    raise _at((*place, "examples"), "this must be a list.")
                return list(schema["examples"])
            if "example" in schema:
                return [schema["example"]]
            # In a schema with an ID of its own, a reference is relative to that.
            if not isinstance(schema.get("$ref"), str) or "$id" in schema:
                return []
            schema, place = _target(self._document, schema["$ref"], (*place, "$ref"))
        return []

    def _member(
        self, owner: dict[str, Any], name: str, place: Pointer
    ) -> tuple[dict[str, Any] | None, Pointer]:
        """A member that is an object or refers to one, and where it is; None when it is missing."""
        value = owner.get(name)
        if value is None:
            return None, (*place, name)
        return self._object(value, (*place, name))

    def _object(self, value: Any, place: Pointer) -> tuple[dict[str, Any], Pointer]:
        """An object, after its references are followed, and where it is."""
        for _ in range(_MOST_HOPS):
            if not isinstance(value, dict):
                raise _at(place, "this must be an object.")
            if not isinstance(value.get("$ref"), str):
                return value, place
            value, place = _target(self._document, value["$ref"], (*place, "$ref"))
        raise _at(place, "the references go in a circle.")


class _SelfContained:
    """A schema out of a document, with all that it refers to."""

    def __init__(self, document: dict[str, Any], schema: Any, place: Pointer) -> None:
        self._document = document
        self._place = place
        self._given = schema
        own_dialect = schema.get("$schema") if isinstance(schema, dict) else None
        self._dialect = own_dialect or document.get("jsonSchemaDialect", "")
        is_draft_7 = str(self._dialect).startswith(_DRAFT_7)
        self._keyword = "definitions" if is_draft_7 else "$defs"
        self._needs_dialect = is_draft_7 and own_dialect is None
        own = schema.get(self._keyword) if isinstance(schema, dict) else None
        self._taken: set[str] = set(own) if isinstance(own, dict) else set()
        # The definitions that are needed: where each lies in the document, and its name here.
        self._names: dict[Pointer, str] = {}

    def schema(self) -> Any:
        """The schema, in which no reference leads out of it."""
        schema = self._rewritten(self._given, self._place)
        if not isinstance(schema, dict):
            return schema
        definitions: dict[str, Any] = {}
        # Definitions may need more of them, which are appended meanwhile.
        waiting = list(self._names.items())
        while waiting:
            for place, name in waiting:
                definitions[name] = self._rewritten(value_at(self._document, place), place)
            waiting = list(self._names.items())[len(definitions) :]
        if definitions:
            schema[self._keyword] = {**schema.get(self._keyword, {}), **definitions}
        return {"$schema": f"{_DRAFT_7}#", **schema} if self._needs_dialect else schema

    def _rewritten(self, schema: Any, place: Pointer) -> Any:
        """A copy of a schema in which references lead to the definitions here."""
        # References in a schema with an ID of its own are relative to it, and stay right.
        if not isinstance(schema, dict) or "$id" in schema:
            return dict(schema) if isinstance(schema, dict) else schema
        copy = dict(schema)
        copied: set[str] = set()
        for way, part in parts(schema):
            rewritten = self._rewritten(part, (*place, *way))
            keyword, *inside = way
            if not inside:
                copy[keyword] = rewritten
                continue
            if keyword not in copied:
                copied.add(keyword)
                held = schema[keyword]
                copy[keyword] = list(held) if isinstance(held, list) else dict(held)
            index: Any = int(inside[0]) if isinstance(copy[keyword], list) else inside[0]
            copy[keyword][index] = rewritten
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(reference := schema.get(keyword), str):
                copy[keyword] = self._reference(reference, (*place, keyword))
        return copy

    def _reference(self, reference: str, place: Pointer) -> str:
        """What a reference into the document is called inside the schema."""
        target, way = _target(self._document, reference, place)
        if not is_schema(target):
            raise _at(place, "the reference leads to something that is no schema.")
        inside: Pointer = ()
        if way[:2] == ("components", "schemas"):
            way, inside = way[:3], way[3:]
        if way not in self._names:
            self._names[way] = self._free_name(way[-1])
        pointer = pointer_text((self._keyword, self._names[way], *inside))
        return "#" + quote(pointer, safe="/~!$&'()*+,;=:@")

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _target(document: dict[str, Any], reference: str, place: Pointer) -> tuple[Any, Pointer]:
    """What a reference leads to in the document, and where that is."""
    if not reference.startswith("#/"):
        raise _at(place, "references must point into the document itself, as #/components/... do.")
    way = pointer_tokens(unquote(reference[1:]))
    try:
        return value_at(document, way), way
    except LookupError:
        raise _at(place, "the reference leads to nothing in the document.") from None


def _read(text: str) -> Any:
    looks_like_json = text.lstrip()[:1] in ("{", "[")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as json_error:
        try:
            return read_yaml(text)
        except YamlProblem as problem:
            if looks_like_json:
                raise OpenApiProblem(
                    "The document is not valid JSON"
                    f" (line {json_error.lineno}, column {json_error.colno})."
                ) from None
            raise OpenApiProblem(f"The document cannot be read. {problem}") from None
    if nesting(document) > MOST_NESTING:
        raise OpenApiProblem(f"The document nests deeper than {MOST_NESTING} levels.")
    return document


def _json_text(value: Any, place: Pointer) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        raise _at(place, "this cannot be written as JSON.") from None


def _at(place: Pointer, problem: str) -> OpenApiProblem:
    return OpenApiProblem(f"At {pointer_text(place)[:200]}: {problem}")
