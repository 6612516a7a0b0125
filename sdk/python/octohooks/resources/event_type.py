"""Event types."""

from collections.abc import Mapping
from typing import Any, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled, json_text
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import event_type_service_pb2 as pb
from octohooks.v1.event_type_pb2 import EventType
from octohooks.values import EventTypeValues, JsonValue


class EventTypeResource(Resource[TransportT]):
    """What messages describe, and which schema their payloads have. `event_type` is a name."""

    @unary
    def create(
        self, name: str, *, idempotency_key: str | None = None, **values: Unpack[EventTypeValues]
    ) -> Call[EventType]:
        """Describes an event type.

        Raises:
            AlreadyExists: one of this name is described already.
        """
        return Call(
            pb.CreateEventTypeRequest(event_type=filled(EventType(name=name), _as_text(values))),
            pb.CreateEventTypeResponse,
            lambda response: response.event_type,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def get(self, event_type: str) -> Call[EventType]:
        """Answers one event type.

        Raises:
            NotFound: none of this name is described.
        """
        return Call(
            pb.GetEventTypeRequest(event_type=event_type),
            pb.GetEventTypeResponse,
            lambda response: response.event_type,
        )

    @listing
    def list(self, *, include_archived: bool = False, page_size: int = 50) -> Listing[EventType]:
        """Lists the event types by name, asking for `page_size` at a time (at most 250)."""
        return Listing(
            pb.ListEventTypesRequest(include_archived=include_archived, page_size=page_size),
            pb.ListEventTypesResponse,
            lambda response: response.event_types,
        )

    @unary
    def update(
        self, event_type: str, *, allow_missing: bool = False, **changes: Unpack[EventTypeValues]
    ) -> Call[EventType]:
        """Changes the fields that are given, and no others; `""` and `None` clear one. With
        `allow_missing`, makes the event type when none of this name is described.

        Raises:
            NotFound: none of this name is described, and `allow_missing` is false.
        """
        return Call(
            pb.UpdateEventTypeRequest(
                event_type=event_type,
                values=filled(EventType(), _as_text(changes)),
                update_mask=FieldMask(paths=changes),
                allow_missing=allow_missing,
            ),
            pb.UpdateEventTypeResponse,
            lambda response: response.event_type,
        )

    @unary
    def archive(self, event_type: str) -> Call[EventType]:
        """Archives an event type: new messages may not name it. Doing it twice is not an error."""
        return Call(
            pb.ArchiveEventTypeRequest(event_type=event_type),
            pb.ArchiveEventTypeResponse,
            lambda response: response.event_type,
        )

    @unary
    def delete(self, event_type: str) -> Call[None]:
        """Removes the description of an event type; its messages and filters stay as they are."""
        return Call(
            pb.DeleteEventTypeRequest(event_type=event_type),
            pb.DeleteEventTypeResponse,
            lambda response: None,
        )

    @unary
    def import_openapi(
        self, document: JsonValue, *, dry_run: bool = False
    ) -> Call[pb.ImportOpenApiResponse]:
        """Describes every webhook of an OpenAPI 3.1 document, which is JSON or YAML text, or the
        document as a mapping. With `dry_run`, only answers what would be done."""
        return Call(
            pb.ImportOpenApiRequest(document=json_text(document).decode(), dry_run=dry_run),
            pb.ImportOpenApiResponse,
            lambda response: response,
        )


def _as_text(values: EventTypeValues) -> Mapping[str, Any]:
    """The values, with JSON documents as text."""
    text: dict[str, Any] = {**values}
    schema, examples = values.get("schema"), values.get("examples")
    if schema is not None:
        text["schema"] = json_text(schema).decode()
    if examples is not None:
        if isinstance(examples, (str, bytes)):
            raise TypeError("examples: a sequence is needed, not a single string")
        text["examples"] = [json_text(example).decode() for example in examples]
    return text
