"""EventTypeService: what messages describe, and which schema their payloads have."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message as AnyMessage
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import UpdateEnvironmentRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import (
    ArchiveEventTypeRequest,
    CreateEventTypeRequest,
    DeleteEventTypeRequest,
    GetEventTypeRequest,
    ImportOpenApiRequest,
    ImportOpenApiResponse,
    ListEventTypesRequest,
    UpdateEventTypeRequest,
)
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import CreateMessageRequest, ListMessagesRequest

from tests.server.api.calls import Api, Refusal
from tests.server.api.serving import Server, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

INTEGER = '{"type": "integer"}'

WRONG_VALUES = [
    pytest.param({"description": "d" * 4097}, "description", id="4,097 characters"),
    pytest.param({"description": "a\0b"}, "description", id="U+0000"),
    pytest.param({"metadata": {"k": "v" * 4090}}, "metadata", id="metadata above 4 KiB"),
    pytest.param({"schema": "{"}, "schema", id="a schema that is no JSON"),
    pytest.param({"schema": '{"type": "strin"}'}, "schema", id="a schema that is none"),
    pytest.param({"schema": '{"$ref": "http://127.0.0.1:1/"}'}, "schema", id="a remote reference"),
    pytest.param({"schema": " " * 65_535 + "{}"}, "schema", id="a schema above 64 KiB"),
    pytest.param({"examples": ["{"]}, "examples[0]", id="an example that is no JSON"),
    pytest.param({"examples": ["1"] * 11}, "examples", id="11 examples"),
    pytest.param(
        {"examples": ["1", "1" + " " * 65_536]}, "examples[1]", id="an example above 64 KiB"
    ),
    pytest.param(
        {"schema": INTEGER, "examples": ["1", '"two"', "3"]},
        "examples[1]",
        id="an example that breaks the schema",
    ),
]
OUTPUT_ONLY = [
    pytest.param({"create_time": {"seconds": 1}}, "create_time", id="a creation time"),
    pytest.param({"update_time": {"seconds": 1}}, "update_time", id="a change time"),
]


async def made(api: Api, name: str = "invoice.paid", **values: Any) -> EventType:
    request = CreateEventTypeRequest(event_type=EventType(name=name, **values))
    event_type = (await api(request)).event_type
    assert isinstance(event_type, EventType)
    return event_type


async def stored(api: Api, name: str = "invoice.paid") -> EventType:
    event_type = (await api(GetEventTypeRequest(event_type=name))).event_type
    assert isinstance(event_type, EventType)
    return event_type


async def changed(api: Api, name: str, values: EventType, *paths: str) -> EventType:
    request = UpdateEventTypeRequest(
        event_type=name, values=values, update_mask=FieldMask(paths=paths)
    )
    event_type = (await api(request)).event_type
    assert isinstance(event_type, EventType)
    return event_type


async def names(api: Api, **filter: Any) -> list[str]:
    answer = await api(ListEventTypesRequest(**filter))
    return [event_type.name for event_type in answer.event_types]


async def test_an_event_type_is_created_with_all_that_is_given(api: Api) -> None:
    values: dict[str, Any] = {
        "name": "invoice.paid",
        "description": "An invoice was paid.",
        "schema": '{ "type": "object" }',
        "examples": ['{ "id": 1 }', "{}"],
        "archived": True,
        "metadata": {"team": "billing"},
    }

    event_type = await made(api, **values)

    assert event_type.create_time == event_type.update_time
    assert event_type == EventType(
        **values, create_time=event_type.create_time, update_time=event_type.update_time
    )
    assert await stored(api) == event_type


async def test_limits_can_be_reached(api: Api) -> None:
    example = '"' + "x" * 65_534 + '"'
    values: dict[str, Any] = {
        "name": "n" * 256,
        "description": "ñ" * 4096,
        "schema": "true" + " " * 65_532,
        "examples": [example] * 10,
    }

    event_type = await made(api, **values)

    assert event_type.description == values["description"]
    assert event_type.schema == values["schema"]
    assert list(event_type.examples) == values["examples"]


@pytest.mark.parametrize(("values", "field"), [*WRONG_VALUES, *OUTPUT_ONLY])
async def test_creation_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    wrong = EventType(name="invoice.paid", **values)

    refusal = await api.refusal(CreateEventTypeRequest(event_type=wrong))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"event_type.{field}"]
    assert not await names(api)


@pytest.mark.parametrize(
    "name", ["", "a b", "ü", "a/b", "n" * 257], ids=["none", "space", "umlaut", "slash", "long"]
)
async def test_creation_refuses_a_wrong_name(api: Api, name: str) -> None:
    refusal = await api.refusal(CreateEventTypeRequest(event_type=EventType(name=name)))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["event_type.name"]


async def test_creation_tells_where_the_schema_is_wrong(api: Api) -> None:
    wrong = EventType(name="a", schema='{"properties": {"id": {"type": "strin"}}}')

    refusal = await api.refusal(CreateEventTypeRequest(event_type=wrong))

    assert "/properties/id/type" in refusal.message


async def test_a_name_is_taken_once_only(api: Api) -> None:
    first = await made(api, description="first")

    refusal = await api.refusal(CreateEventTypeRequest(event_type=EventType(name="invoice.paid")))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("event type", "invoice.paid")
    assert await stored(api) == first


async def test_names_differ_by_case(api: Api) -> None:
    await made(api, "a")
    await made(api, "A")

    assert await names(api) == ["A", "a"]


async def test_environments_describe_event_types_apart(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    ours = await made(tenant.api, description="ours")
    theirs = await made(other_tenant.api, description="theirs")

    await tenant.api(DeleteEventTypeRequest(event_type="invoice.paid"))

    assert ours.description == "ours"
    assert await stored(other_tenant.api) == theirs
    assert await names(tenant.api) == []


async def test_a_repeated_creation_with_one_key_is_one(api: Api) -> None:
    request = CreateEventTypeRequest(event_type=EventType(name="a"))

    first = await api(request, idempotency_key="k")
    await changed(api, "a", EventType(description="changed"))
    again = await api(request, idempotency_key="k")

    assert again == first


async def test_an_idempotency_key_is_good_for_one_request(api: Api) -> None:
    await api(CreateEventTypeRequest(event_type=EventType(name="a")), idempotency_key="k")

    refusal = await api.refusal(
        CreateEventTypeRequest(event_type=EventType(name="b")), idempotency_key="k"
    )

    assert refusal.cause == ("FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED")


async def test_fifty_concurrent_creations_with_one_key_get_one_answer(api: Api) -> None:
    request, key = CreateEventTypeRequest(event_type=EventType(name="a")), uuid.uuid4().hex

    answers = await asyncio.gather(*(api(request, idempotency_key=key) for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert await names(api) == ["a"]


async def test_event_types_are_listed_by_name_page_by_page(api: Api) -> None:
    for name in ("d", "b", "e", "a", "c"):
        await made(api, name)
    found: list[list[str]] = []
    token = ""
    while True:
        page = await api(ListEventTypesRequest(page_size=2, page_token=token))
        found.append([event_type.name for event_type in page.event_types])
        token = page.next_page_token
        if not token:
            break

    assert found == [["a", "b"], ["c", "d"], ["e"]]


async def test_archived_event_types_are_listed_on_request(api: Api) -> None:
    await made(api, "old", archived=True)
    await made(api, "new")

    assert await names(api) == ["new"]
    assert await names(api, include_archived=True) == ["new", "old"]


async def test_a_page_ends_after_two_mebibytes(api: Api) -> None:
    """Or no client could read it."""
    example = '"' + "x" * 65_000 + '"'
    for number in range(5):
        await made(api, f"e{number}", examples=[example] * 10)

    first = await api(ListEventTypesRequest())
    rest = await api(ListEventTypesRequest(page_token=first.next_page_token))

    assert [one.name for one in first.event_types] == ["e0", "e1", "e2"]
    assert [one.name for one in rest.event_types] == ["e3", "e4"]
    assert not rest.next_page_token


async def test_a_page_token_is_bound_to_its_request_and_environment(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    for name in ("a", "b"):
        await made(tenant.api, name)
    token = (await tenant.api(ListEventTypesRequest(page_size=1))).next_page_token

    for api, request in (
        (other_tenant.api, ListEventTypesRequest(page_token=token)),
        (tenant.api, ListEventTypesRequest(page_token=token, include_archived=True)),
        (tenant.api, ListEventTypesRequest(page_token=token + "x")),
    ):
        refusal = await api.refusal(request)
        assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
        assert refusal.fields == ["page_token"]


async def test_a_page_size_is_not_negative(api: Api) -> None:
    refusal = await api.refusal(ListEventTypesRequest(page_size=-1))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


async def test_an_update_changes_what_its_mask_names_and_nothing_else(api: Api) -> None:
    before = await made(api, description="before", schema=INTEGER, examples=["1"])
    values = EventType(description="after", schema='{"type": "string"}', examples=['"a"'])

    after = await changed(api, "invoice.paid", values, "schema", "examples")

    assert after.description == "before"
    assert after.schema == '{"type": "string"}'
    assert list(after.examples) == ['"a"']
    assert after.create_time == before.create_time
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    assert await stored(api) == after


async def test_an_update_without_a_mask_changes_what_is_set(api: Api) -> None:
    await made(api, description="before", schema=INTEGER)

    after = await changed(api, "invoice.paid", EventType(description="after"))

    assert (after.description, after.schema) == ("after", INTEGER)


async def test_what_a_mask_names_and_is_unset_is_cleared(api: Api) -> None:
    await made(
        api, description="d", schema=INTEGER, examples=["1"], archived=True, metadata={"k": "v"}
    )
    paths = ("description", "schema", "examples", "archived", "metadata")

    after = await changed(api, "invoice.paid", EventType(), *paths)

    assert after == EventType(
        name="invoice.paid", create_time=after.create_time, update_time=after.update_time
    )


@pytest.mark.parametrize(("values", "field"), WRONG_VALUES)
async def test_an_update_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    before = await made(api)
    request = UpdateEventTypeRequest(event_type="invoice.paid", values=EventType(**values))

    refusal = await api.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"values.{field}"]
    assert await stored(api) == before


async def test_a_new_schema_has_to_suit_the_examples_that_stay(api: Api) -> None:
    await made(api, schema=INTEGER, examples=["1"])
    values = EventType(schema='{"type": "string"}')

    refusal = await api.refusal(UpdateEventTypeRequest(event_type="invoice.paid", values=values))

    assert refusal.fields == ["values.examples[0]"]


@pytest.mark.parametrize("path", ["name", "create_time", "update_time", "colour", "metadata.k"])
async def test_an_update_refuses_paths_that_cannot_be_changed(api: Api, path: str) -> None:
    await made(api)
    request = UpdateEventTypeRequest(
        event_type="invoice.paid", update_mask=FieldMask(paths=["description", path])
    )

    refusal = await api.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["update_mask.paths[1]"]


async def test_an_update_makes_what_is_missing_when_it_may(api: Api) -> None:
    values = EventType(description="made")
    request = UpdateEventTypeRequest(event_type="new", values=values, allow_missing=True)

    first = (await api(request)).event_type
    again = (await api(request)).event_type

    assert (first.name, first.description) == ("new", "made")
    assert again.create_time == first.create_time
    assert await names(api) == ["new"]


async def test_an_update_makes_nothing_with_a_name_that_is_none(api: Api) -> None:
    request = UpdateEventTypeRequest(event_type="a b", allow_missing=True)

    refusal = await api.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["event_type"]
    assert await names(api) == []


async def test_concurrent_updates_of_different_fields_all_arrive(api: Api) -> None:
    """The check of a schema is made outside of the transaction that stores it."""
    await made(api)
    values = EventType(
        description="d", schema=INTEGER, examples=["1"], archived=True, metadata={"k": "v"}
    )
    paths = ("description", "schema", "examples", "archived", "metadata")

    await asyncio.gather(*(changed(api, "invoice.paid", values, path) for path in paths))

    after = await stored(api)
    assert (after.description, after.schema, after.archived) == ("d", INTEGER, True)
    assert (list(after.examples), dict(after.metadata)) == (["1"], {"k": "v"})


async def test_concurrent_updates_that_may_make_it_make_one(api: Api) -> None:
    requests = [
        UpdateEventTypeRequest(
            event_type="new", values=EventType(metadata={str(number): ""}), allow_missing=True
        )
        for number in range(20)
    ]

    answers = await asyncio.gather(*map(api, requests))

    assert len({answer.event_type.create_time.ToNanoseconds() for answer in answers}) == 1
    assert await names(api) == ["new"]


async def test_an_archived_event_type_stays_readable(api: Api) -> None:
    before = await made(api, schema=INTEGER)

    archived = (await api(ArchiveEventTypeRequest(event_type="invoice.paid"))).event_type

    assert archived.archived
    assert archived.schema == before.schema
    assert await stored(api) == archived


async def test_archiving_twice_is_archiving_once(api: Api) -> None:
    await made(api)

    first = await api(ArchiveEventTypeRequest(event_type="invoice.paid"))
    again = await api(ArchiveEventTypeRequest(event_type="invoice.paid"))

    assert again == first


async def test_a_deleted_event_type_frees_its_name(api: Api) -> None:
    await made(api, description="old")

    await api(DeleteEventTypeRequest(event_type="invoice.paid"))

    refusal = await api.refusal(GetEventTypeRequest(event_type="invoice.paid"))
    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert (await made(api)).description == ""


@pytest.mark.parametrize(
    "kind",
    [GetEventTypeRequest, UpdateEventTypeRequest, ArchiveEventTypeRequest, DeleteEventTypeRequest],
    ids=["get", "update", "archive", "delete"],
)
async def test_an_event_type_that_is_not_described_here_is_not_found(
    tenant: Tenant, other_tenant: Tenant, kind: Any
) -> None:
    await made(other_tenant.api, "invoice.paid")

    theirs: Refusal = await tenant.api.refusal(kind(event_type="invoice.paid"))
    nobodys: Refusal = await tenant.api.refusal(kind(event_type="nothing.else"))

    assert theirs.cause == ("NOT_FOUND", "NOT_FOUND")
    assert theirs.resource == ("event type", "invoice.paid")
    told = theirs.status.SerializeToString().replace(b"invoice.paid", b"nothing.else")
    assert told == nobodys.status.SerializeToString()
    missing = await tenant.api.refusal(kind())
    assert missing.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert missing.fields == ["event_type"]


@pytest.mark.parametrize(
    "request_",
    [
        CreateEventTypeRequest(event_type=EventType(name="a")),
        GetEventTypeRequest(event_type="a"),
        ListEventTypesRequest(),
        UpdateEventTypeRequest(event_type="a"),
        ArchiveEventTypeRequest(event_type="a"),
        DeleteEventTypeRequest(event_type="a"),
        ImportOpenApiRequest(document="{}"),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_every_method_needs_the_key_of_an_environment(
    server: Server, request_: AnyMessage
) -> None:
    refusal = await server.operator.refusal(request_)

    assert refusal.cause == ("PERMISSION_DENIED", "ENVIRONMENT_KEY_REQUIRED")
    assert (await server.api(None).refusal(request_)).cause == (
        "UNAUTHENTICATED",
        "INVALID_API_KEY",
    )


# Messages


def message(payload: Any, event_type: str = "invoice.paid") -> CreateMessageRequest:
    text = json.dumps(payload).encode()
    return CreateMessageRequest(
        application="acme", message=Message(event_type=event_type, payload=text)
    )


async def strict(server: Server) -> Tenant:
    """An environment that enforces schemas, with an application."""
    tenant = await server.new_tenant(enforce_schemas=True)
    await tenant.api(CreateApplicationRequest(application=Application(uid="acme")))
    return tenant


async def test_a_payload_that_breaks_the_schema_is_refused_with_its_place(server: Server) -> None:
    api = (await strict(server)).api
    schema = {"properties": {"lines": {"items": {"required": ["sku"]}}}}
    await made(api, schema=json.dumps(schema))

    refusal = await api.refusal(message({"lines": [{"sku": 1}, {"card": "4242"}]}))

    assert refusal.cause == ("INVALID_ARGUMENT", "PAYLOAD_BREAKS_SCHEMA")
    assert refusal.fields == ["message.payload"]
    assert "At /lines/1" in refusal.message
    assert "4242" not in str(refusal.status)
    assert not (await api(ListMessagesRequest(application="acme"))).messages
    assert (await api(message({"lines": [{"sku": 1}]}))).message.id


async def test_changes_of_an_event_type_hold_from_the_next_message_on(server: Server) -> None:
    api = (await strict(server)).api
    breaks = ("INVALID_ARGUMENT", "PAYLOAD_BREAKS_SCHEMA")
    await api(message("one"))

    await made(api, schema=INTEGER)
    assert (await api.refusal(message("two"))).cause == breaks
    await api(message(2))

    await changed(api, "invoice.paid", EventType(schema='{"type": "string"}'))
    await api(message("three"))
    assert (await api.refusal(message(3))).cause == breaks

    await api(ArchiveEventTypeRequest(event_type="invoice.paid"))
    archived = await api.refusal(message("four"))
    assert archived.cause == ("FAILED_PRECONDITION", "EVENT_TYPE_ARCHIVED")

    await changed(api, "invoice.paid", EventType(), "archived", "schema")
    await api(message(5))

    await api(ArchiveEventTypeRequest(event_type="invoice.paid"))
    await api(DeleteEventTypeRequest(event_type="invoice.paid"))
    await api(message(6))


async def test_an_imported_schema_holds_from_the_next_message_on(server: Server) -> None:
    api = (await strict(server)).api
    await api(message("one"))

    await imported(api, openapi({"invoice.paid": {"type": "integer"}}))

    refusal = await api.refusal(message("two"))
    assert refusal.cause == ("INVALID_ARGUMENT", "PAYLOAD_BREAKS_SCHEMA")


async def test_an_environment_that_does_not_enforce_takes_every_payload(tenant: Tenant) -> None:
    await tenant.api(CreateApplicationRequest(application=Application(uid="acme")))
    await made(tenant.api, schema="false")

    await tenant.api(message("anything"))


async def test_enforcing_holds_from_the_next_message_on(server: Server, tenant: Tenant) -> None:
    await tenant.api(CreateApplicationRequest(application=Application(uid="acme")))
    await made(tenant.api, schema="false")
    await tenant.api(message("one"))

    for enforced in (True, False):
        await server.operator(
            UpdateEnvironmentRequest(
                environment=tenant.id,
                values=Environment(enforce_schemas=enforced),
                update_mask=FieldMask(paths=["enforce_schemas"]),
            )
        )
        if enforced:
            refusal = await tenant.api.refusal(message("two"))
            assert refusal.cause == ("INVALID_ARGUMENT", "PAYLOAD_BREAKS_SCHEMA")
        else:
            await tenant.api(message("three"))


# Import


def openapi(schemas: dict[str, Any]) -> str:
    webhooks = {
        name: {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}
        for name, schema in schemas.items()
    }
    return json.dumps({"openapi": "3.1.0", "webhooks": webhooks})


async def imported(api: Api, document: str, *, dry_run: bool = False) -> ImportOpenApiResponse:
    answer = await api(ImportOpenApiRequest(document=document, dry_run=dry_run))
    assert isinstance(answer, ImportOpenApiResponse)
    return answer


async def test_an_import_tells_what_is_new_what_changed_and_what_did_not(api: Api) -> None:
    await made(api, "alone", description="left alone")
    same = await made(api, "same", schema='{ "type" : "null" }')
    other = await made(api, "other", schema="true", metadata={"k": "v"}, archived=True)
    document = openapi({"new": True, "other": {"type": "null"}, "same": {"type": "null"}})

    answer = await imported(api, document)

    assert [one.name for one in answer.created] == ["new"]
    assert [one.name for one in answer.updated] == ["other"]
    assert list(answer.unchanged) == ["same"]
    assert await stored(api, "new") == answer.created[0]
    updated = await stored(api, "other")
    assert updated == answer.updated[0]
    assert updated.schema == '{"type":"null"}'
    assert (dict(updated.metadata), updated.archived) == ({"k": "v"}, True)
    assert updated.create_time == other.create_time
    assert await stored(api, "same") == same
    assert (await stored(api, "alone")).description == "left alone"


async def test_importing_again_changes_nothing(api: Api) -> None:
    document = openapi({"a": {"type": "null"}, "b": True})
    await imported(api, document)

    again = await imported(api, document)

    assert again == ImportOpenApiResponse(unchanged=["a", "b"])


async def test_a_dry_run_stores_nothing(api: Api) -> None:
    before = await made(api, "old", schema="true")
    document = openapi({"new": True, "old": False})

    answer = await imported(api, document, dry_run=True)

    assert [one.name for one in answer.created] == ["new"]
    assert [(one.name, one.schema) for one in answer.updated] == [("old", "false")]
    assert await names(api) == ["old"]
    assert await stored(api, "old") == before


async def test_an_import_stores_all_or_nothing(api: Api) -> None:
    document = openapi({"good": True, "bad": {"type": "strin"}})

    refusal = await api.refusal(ImportOpenApiRequest(document=document))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["document"]
    assert "'bad'" in refusal.message
    assert await names(api) == []


async def test_an_import_reads_yaml(api: Api) -> None:
    document = "openapi: 3.1.0\nwebhooks:\n  a: {post: {description: From YAML}}\n"

    await imported(api, document)

    assert (await stored(api, "a")).description == "From YAML"


async def test_an_import_needs_a_document(api: Api) -> None:
    refusal = await api.refusal(ImportOpenApiRequest())

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["document"]


async def test_a_document_that_is_wrong_everywhere_gets_an_answer_that_fits(api: Api) -> None:
    many = json.dumps({"openapi": "3.1.0", "webhooks": {"x" * 900 + str(n): 1 for n in range(99)}})

    refusal = await api.refusal(ImportOpenApiRequest(document=many))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {"document"}
