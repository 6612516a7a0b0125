"""The import of an OpenAPI document's webhooks: what it describes, and what is new in that."""

from collections.abc import Iterator

import orjson
from octohooks.v1.event_type_pb2 import EventType

from octohooks_server.api.event_type_checks import event_type_problems
from octohooks_server.api.openapi import (
    OpenApiProblem,
    event_types_of,
    parse_document,
)
from octohooks_server.errors import InvalidArgument
from octohooks_server.rules.names import event_type_problem

# The answer holds every event type whole, with the metadata that it had before, and has to fit into
# one gRPC message.
_MOST_BYTES = 2 * 1024 * 1024
_MOST_EVENT_TYPES = 400
# Errors travel in headers, which are small.
_MOST_PROBLEMS = 10
_FIELD = "document"


def read_event_types(document: str) -> list[EventType]:
    """The event types that a document describes, each one good to be stored.

    Raises:
        InvalidArgument: the document is wrong; each violation is on `document` and says where.
    """
    try:
        parsed = parse_document(document)
    except OpenApiProblem as problem:
        raise InvalidArgument.of(_FIELD, str(problem)) from None
    if len(parsed["webhooks"]) > _MOST_EVENT_TYPES:
        raise InvalidArgument.of(
            _FIELD, f"The document describes more than {_MOST_EVENT_TYPES} webhooks."
        )
    found: list[EventType] = []
    problems: list[str] = []
    size = 0
    for name, event_type in event_types_of(parsed):
        problems.extend(_problems(name, event_type))
        if len(problems) >= _MOST_PROBLEMS:
            break
        if isinstance(event_type, EventType):
            found.append(event_type)
            size += event_type.ByteSize()
            if size > _MOST_BYTES:
                problems.append(
                    "Together, the event types have more than 2 MiB; import them in several parts."
                )
                break
    if problems:
        raise InvalidArgument((_FIELD, problem) for problem in problems[:_MOST_PROBLEMS])
    return found


def describes_the_same(one: EventType, other: EventType) -> bool:
    """Whether two event types say the same, however their JSON is written."""
    return (
        one.description == other.description
        and _same_json(one.schema, other.schema)
        and len(one.examples) == len(other.examples)
        and all(map(_same_json, one.examples, other.examples))
    )


def with_description_of(existing: EventType, described: EventType) -> EventType:
    """An event type as a document describes it, with all else as it was."""
    merged = EventType()
    merged.CopyFrom(described)
    merged.archived = existing.archived
    merged.metadata.update(existing.metadata)
    merged.create_time.CopyFrom(existing.create_time)
    merged.update_time.CopyFrom(existing.update_time)
    return merged


def _problems(name: str, event_type: EventType | OpenApiProblem) -> Iterator[str]:
    shown = name[:100]
    problem = event_type_problem(name)
    if problem is not None:
        yield f"The webhook {shown!r} cannot be an event type. {problem}"
    if isinstance(event_type, OpenApiProblem):
        yield str(event_type)
        return
    for field, problem in event_type_problems(event_type):
        yield f"The {field} of the webhook {shown!r}: {problem}"


def _same_json(one: str, other: str) -> bool:
    if one == other or not one or not other:
        return one == other
    return bool(orjson.loads(one) == orjson.loads(other))
