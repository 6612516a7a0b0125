"""From an OpenAPI 3.1 document to event types: each of its webhooks describes one."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import ImportOpenApiResponse

from octohooks_server.api.event_type_checks import MAX_DESCRIPTION, event_type_problems
from octohooks_server.api.schemas import MAX_EXAMPLES
from octohooks_server.api.yaml_documents import YamlProblem, read_yaml
from octohooks_server.errors import InvalidArgument
from octohooks_server.rules.names import event_type_problem

_MAX_DOCUMENT_BYTES = 1024 * 1024
_MOST_REFERENCES_IN_A_ROW = 20
_DEFAULT_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Wrong(Exception):
    """What is wrong with the document, as a sentence that says where."""


def read_event_types(document: str) -> list[EventType]:
    """The event types that a document in JSON or YAML describes, by name.

    Everything that is wrong is an InvalidArgument on `document`.
    """
    try:
        described = list(_event_types(_parsed(document)))
    except _Wrong as error:
        raise InvalidArgument.of("document", str(error)) from None
    violations = [
        ("document", f"webhooks.{event_type.name}: {name}: {problem}")
        for event_type in described
        for name, problem in event_type_problems(event_type)
    ]
    if violations:
        raise InvalidArgument(violations)
    return sorted(described, key=lambda event_type: event_type.name)


def plan_import(
    described: list[EventType], existing: Mapping[str, EventType]
) -> ImportOpenApiResponse:
    """What an import has to make and to change; metadata and archiving stay as they are."""
    plan = ImportOpenApiResponse()
    for event_type in described:
        current = existing.get(event_type.name)
        if current is None:
            plan.created.append(event_type)
            continue
        changed = EventType()
        changed.CopyFrom(current)
        changed.description = event_type.description
        changed.schema = event_type.schema
        del changed.examples[:]
        changed.examples.extend(event_type.examples)
        if changed == current:
            plan.unchanged.append(event_type.name)
        else:
            plan.updated.append(changed)
    return plan


def _parsed(document: str) -> dict[str, Any]:
    if len(document.encode()) > _MAX_DOCUMENT_BYTES:
        raise _Wrong("The document is larger than 1 MiB.")
    try:
        parsed = orjson.loads(document)
    except orjson.JSONDecodeError:
        try:
            parsed = read_yaml(document)
        except YamlProblem as error:
            raise _Wrong(f"The document is neither JSON nor YAML: {error}") from None
    if not isinstance(parsed, dict) or not str(parsed.get("openapi", "")).startswith("3.1"):
        raise _Wrong("The document is not an OpenAPI 3.1 document.")
    return parsed


def _event_types(document: dict[str, Any]) -> Iterator[EventType]:
    webhooks = document.get("webhooks")
    if not isinstance(webhooks, dict) or not webhooks:
        raise _Wrong("webhooks: The document describes no webhooks.")
    for name, item in webhooks.items():
        place = f"webhooks.{name}"
        problem = event_type_problem(name)
        if problem is not None:
            raise _Wrong(f"{place}: {problem}")
        yield _event_type(document, name, _followed(document, item, place), place)


def _event_type(document: dict[str, Any], name: str, item: dict[str, Any], place: str) -> EventType:
    operation = item.get("post")
    if not isinstance(operation, dict):
        raise _Wrong(f"{place}: A webhook is a POST; there is no post.")
    texts = (operation.get("summary"), operation.get("description"))
    description = "\n\n".join(text.strip() for text in texts if isinstance(text, str))
    event_type = EventType(name=name, description=description[:MAX_DESCRIPTION])
    body = operation.get("requestBody")
    if body is None:
        return event_type
    body = _followed(document, body, f"{place}.post.requestBody")
    content = body.get("content")
    media = content.get("application/json") if isinstance(content, dict) else None
    if not isinstance(media, dict):
        raise _Wrong(f"{place}.post.requestBody: It has no application/json content.")
    if "schema" in media:
        event_type.schema = _schema_text(document, media["schema"], f"{place}.post")
    event_type.examples.extend(_examples(document, media, place))
    return event_type


def _examples(document: dict[str, Any], media: dict[str, Any], place: str) -> Iterator[str]:
    found = [media["example"]] if "example" in media else []
    named = media.get("examples")
    for name, example in named.items() if isinstance(named, dict) else ():
        example = _followed(document, example, f"{place}.post.requestBody.examples.{name}")
        if "value" in example:
            found.append(example["value"])
    for one in found[:MAX_EXAMPLES]:
        yield orjson.dumps(one).decode()


def _followed(document: dict[str, Any], value: Any, place: str) -> dict[str, Any]:
    """The object that `value` is, or refers to."""
    for _ in range(_MOST_REFERENCES_IN_A_ROW):
        if not isinstance(value, dict):
            raise _Wrong(f"{place}: It is no object.")
        reference = value.get("$ref")
        if reference is None:
            return value
        value = _component(document, *_component_name(reference, place), place)
    raise _Wrong(f"{place}: Its references lead round in a circle.")


def _schema_text(document: dict[str, Any], schema: Any, place: str) -> str:
    """The schema with all that it refers to inside itself, as JSON text."""
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    definitions: dict[str, Any] = {}
    waiting: list[tuple[str, str]] = []

    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(one) for one in value]
        if not isinstance(value, dict):
            return value
        result = {key: rewritten(one) for key, one in value.items()}
        reference = value.get("$ref")
        if isinstance(reference, str):
            kind, name = _component_name(reference, place)
            waiting.append((kind, name))
            rest = reference.split("/")[4:]
            result["$ref"] = "/".join(["#/$defs", _escaped(_definition(kind, name)), *rest])
        return result

    root = rewritten(schema)
    while waiting:
        kind, name = waiting.pop()
        key = _definition(kind, name)
        if key not in definitions:
            definitions[key] = None
            definitions[key] = rewritten(_component(document, kind, name, place))
    root.setdefault("$schema", document.get("jsonSchemaDialect", _DEFAULT_DIALECT))
    if definitions:
        root["$defs"] = {**root.get("$defs", {}), **definitions}
    return orjson.dumps(root).decode()


def _component_name(reference: Any, place: str) -> tuple[str, str]:
    parts = reference.split("/") if isinstance(reference, str) else []
    if len(parts) < 4 or parts[:2] != ["#", "components"]:
        raise _Wrong(f"{place}: A reference leads out of the document's components: {reference!r}.")
    return parts[2], parts[3].replace("~1", "/").replace("~0", "~")


def _component(document: dict[str, Any], kind: str, name: str, place: str) -> Any:
    components = document.get("components")
    group = components.get(kind) if isinstance(components, dict) else None
    if not isinstance(group, dict) or name not in group:
        raise _Wrong(f"{place}: There is no #/components/{kind}/{name}.")
    return group[name]


def _definition(kind: str, name: str) -> str:
    return name if kind == "schemas" else f"{kind}.{name}"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
