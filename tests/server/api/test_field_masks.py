"""Updates by field mask: what is named changes, whole, and nothing else does."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    GetApplicationRequest,
    UpdateApplicationRequest,
)
from octohooks.v1.endpoint_pb2 import (
    DISABLE_REASON_REQUESTED,
    SIGNATURE_TYPE_ED25519,
    SIGNATURE_TYPE_HMAC_SHA256,
    Endpoint,
)
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    GetEndpointRequest,
    UpdateEndpointRequest,
)
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import (
    CreateEnvironmentRequest,
    GetEnvironmentRequest,
    UpdateEnvironmentRequest,
)
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import (
    CreateEventTypeRequest,
    GetEventTypeRequest,
    UpdateEventTypeRequest,
)
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    GetOperationalWebhookRequest,
    UpdateOperationalWebhookRequest,
)

from tests.server.api.calls import Api
from tests.server.api.rpcs import RPCS
from tests.server.api.serving import Server, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY = 24 * 3600


@dataclass(frozen=True)
class Updatable:
    """A kind of entity that is updated by mask."""

    entity: type[Any]
    create: Callable[[Any], Message]
    get: Callable[[Any], Message]
    update: Callable[[Any], Any]
    # Values that each changeable field may get; it may be left unset too.
    values: dict[str, list[Any]]
    # Fields that an entity cannot be without.
    required: dict[str, Any]
    # Fields that exist and cannot be changed.
    fixed: list[str]
    # What a field becomes that is cleared, where that is not its default.
    cleared: dict[str, Any] = field(default_factory=dict)


_METADATA = [{"k": "v"}, {"k": "w", "l": ""}]
_SCHEDULES = [{"steps": [{"seconds": 1}]}, {"steps": [{}, {"nanos": 5_000}]}]
_SIGNATURES = [SIGNATURE_TYPE_HMAC_SHA256, SIGNATURE_TYPE_ED25519]
_HEADERS = [{"x-a": "1"}, {"x-b": "2"}]

UPDATABLE = {
    "UpdateApplication": Updatable(
        Application,
        lambda entity: CreateApplicationRequest(application=entity),
        lambda entity: GetApplicationRequest(application=entity.id),
        lambda entity: UpdateApplicationRequest(application=entity.id),
        {"name": ["a", "b"], "rate_limit": [1, 2], "metadata": _METADATA},
        {},
        ["id", "create_time", "update_time"],
    ),
    "UpdateEndpoint": Updatable(
        Endpoint,
        lambda entity: CreateEndpointRequest(application="acme", endpoint=entity),
        lambda entity: GetEndpointRequest(application="acme", endpoint=entity.id),
        lambda entity: UpdateEndpointRequest(application="acme", endpoint=entity.id),
        {
            "url": ["https://example.com/a", "https://example.com/b"],
            "description": ["a", "b"],
            "event_types": [["a"], ["b", "c"]],
            "channels": [["a"], ["b", "c"]],
            "headers": _HEADERS,
            "rate_limit": [1, 2],
            "retry_schedule": _SCHEDULES,
            "signature_type": _SIGNATURES,
            "disabled": [True],
            "metadata": _METADATA,
        },
        {"url": "https://example.com/"},
        ["id", "application", "disable_reason", "failing_since", "create_time", "update_time"],
        {"signature_type": SIGNATURE_TYPE_HMAC_SHA256},
    ),
    "UpdateEnvironment": Updatable(
        Environment,
        lambda entity: CreateEnvironmentRequest(environment=entity),
        lambda entity: GetEnvironmentRequest(environment=entity.id),
        lambda entity: UpdateEnvironmentRequest(environment=entity.id),
        {
            "name": ["a", "b"],
            "retry_schedule": _SCHEDULES,
            "payload_retention": [{"seconds": 5 * DAY}, {"seconds": 6 * DAY}],
            "default_signature_type": _SIGNATURES,
            "enforce_schemas": [True],
        },
        {"name": "n"},
        ["id", "create_time", "update_time"],
        {
            "payload_retention": {"seconds": 90 * DAY},
            "default_signature_type": SIGNATURE_TYPE_HMAC_SHA256,
        },
    ),
    "UpdateEventType": Updatable(
        EventType,
        lambda entity: CreateEventTypeRequest(event_type=entity),
        lambda entity: GetEventTypeRequest(event_type=entity.name),
        lambda entity: UpdateEventTypeRequest(event_type=entity.name),
        {
            "description": ["a", "b"],
            "schema": ['{"type":"object"}', "true"],
            "examples": [["{}"], ['{"a":1}', "{}"]],
            "archived": [True],
            "metadata": _METADATA,
        },
        {},
        ["name", "create_time", "update_time"],
    ),
    "UpdateOperationalWebhook": Updatable(
        OperationalWebhook,
        lambda entity: CreateOperationalWebhookRequest(operational_webhook=entity),
        lambda entity: GetOperationalWebhookRequest(operational_webhook=entity.id),
        lambda entity: UpdateOperationalWebhookRequest(operational_webhook=entity.id),
        {
            "url": ["https://example.com/a", "https://example.com/b"],
            "description": ["a", "b"],
            "event_types": [["endpoint.created"], ["endpoint.deleted", "endpoint.updated"]],
            "headers": _HEADERS,
            "signature_type": _SIGNATURES,
            "disabled": [True],
        },
        {"url": "https://example.com/"},
        ["id", "disable_reason", "create_time", "update_time"],
        {"signature_type": SIGNATURE_TYPE_HMAC_SHA256},
    ),
}
every_update = pytest.mark.parametrize("method", UPDATABLE)


def api_for(method: str, server: Server, tenant: Tenant) -> Api:
    """The API for a key that opens the method."""
    return server.operator if method == "UpdateEnvironment" else tenant.api


def drawn(data: st.DataObject, kind: Updatable) -> Any:
    """An entity with some of its changeable fields set."""
    optional = {name: st.sampled_from(values) for name, values in kind.values.items()}
    return kind.entity(**data.draw(st.fixed_dictionaries({}, optional=optional)))


def entity_in(answer: Message) -> Any:
    ((_, entity),) = answer.ListFields()
    return entity


def copied(path: str, source: Any, to: Any) -> None:
    """Makes the field in `to` what it is in `source`, unset where it is unset there."""
    to.ClearField(path)
    chosen = type(source)()
    chosen.CopyFrom(source)
    for descriptor in source.DESCRIPTOR.fields:
        if descriptor.name != path:
            chosen.ClearField(descriptor.name)
    to.MergeFrom(chosen)


def is_set(entity: Any, path: str) -> bool:
    return path in {descriptor.name for descriptor, _ in entity.ListFields()}


def complete(kind: Updatable, entity: Any) -> Any:
    """The entity as it is stored: with what the server puts where something is unset."""
    for name, value in kind.cleared.items():
        if not is_set(entity, name):
            entity.MergeFrom(kind.entity(**{name: value}))
    if "disable_reason" in kind.fixed:
        entity.disable_reason = DISABLE_REASON_REQUESTED if entity.disabled else 0
    return entity


async def _created(api: Api, kind: Updatable, data: st.DataObject, name: str) -> Any:
    entity = drawn(data, kind)
    for required, value in kind.required.items():
        if not is_set(entity, required):
            entity.MergeFrom(kind.entity(**{required: value}))
    if kind.entity is EventType:
        entity.name = name
    return entity_in(await api(kind.create(entity)))


async def test_every_update_is_in_the_table() -> None:
    assert {rpc.method for rpc in RPCS if rpc.method.startswith("Update")} == set(UPDATABLE)


@every_update
async def test_every_field_is_either_changeable_or_fixed(method: str) -> None:
    kind = UPDATABLE[method]

    # A UID is changeable too; tests of its own say what it may become.
    assert {*kind.values, *kind.fixed, "uid"} == {*kind.entity.DESCRIPTOR.fields_by_name, "uid"}


@every_update
@pytest.mark.usefixtures("acme")
@given(data=st.data())
@settings(max_examples=15)
async def test_just_what_the_mask_names_changes(
    server: Server, tenant: Tenant, method: str, data: st.DataObject
) -> None:
    """Without a mask, what is set; a field that is named and unset is cleared."""
    kind, api = UPDATABLE[method], api_for(method, server, tenant)
    before = await _created(api, kind, data, uuid.uuid4().hex)
    values = drawn(data, kind)
    mask = data.draw(st.lists(st.sampled_from(sorted(kind.values)), max_size=6))
    request = kind.update(before)
    request.values.CopyFrom(values)
    request.update_mask.paths.extend(mask)
    paths = mask or [descriptor.name for descriptor, _ in values.ListFields()]
    missing = [path for path in kind.required if path in paths and not is_set(values, path)]

    if missing:
        refusal = await api.refusal(request)
        assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert refusal.fields == [f"values.{path}" for path in missing]
        assert entity_in(await api(kind.get(before))) == before
        return
    after = entity_in(await api(request))

    expected = kind.entity()
    expected.CopyFrom(before)
    for path in paths:
        copied(path, values, expected)
    assert after.update_time.ToNanoseconds() >= before.update_time.ToNanoseconds()
    expected.update_time.CopyFrom(after.update_time)
    assert after == complete(kind, expected)
    assert entity_in(await api(kind.get(before))) == after


@every_update
@pytest.mark.usefixtures("acme")
@given(data=st.data())
@settings(max_examples=15)
async def test_a_path_that_names_nothing_changeable_is_refused_and_named(
    server: Server, tenant: Tenant, method: str, data: st.DataObject
) -> None:
    kind, api = UPDATABLE[method], api_for(method, server, tenant)
    before = await _created(api, kind, data, uuid.uuid4().hex)
    inside = [f"{name}.k" for name in kind.values]
    wrong = data.draw(st.sampled_from([*kind.fixed, *inside, "", "*", "nothing", "values", "Name"]))
    mask = data.draw(st.lists(st.sampled_from(sorted(kind.values)), max_size=3))
    place = data.draw(st.integers(0, len(mask)))
    request = kind.update(before)
    request.values.CopyFrom(drawn(data, kind))
    request.update_mask.CopyFrom(FieldMask(paths=[*mask[:place], wrong, *mask[place:]]))

    refusal = await api.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"update_mask.paths[{place}]"]
    assert wrong in refusal.message
    assert entity_in(await api(kind.get(before))) == before
