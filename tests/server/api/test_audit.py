"""The audit log: who changed what, when and from where, and never a secret or a payload."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.access_pb2 import Access, access
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    RevokeApiKeyRequest,
    RotateApiKeyRequest,
)
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    DeleteApplicationRequest,
    UpdateApplicationRequest,
)
from octohooks.v1.attempt_service_pb2 import ResendDeliveryRequest
from octohooks.v1.audit_pb2 import AuditEvent
from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    DeleteEndpointRequest,
    GetEndpointSecretRequest,
    RecoverEndpointRequest,
    ReplayEndpointRequest,
    RotateEndpointSecretRequest,
    SendExampleRequest,
    UpdateEndpointRequest,
)
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import (
    CreateEnvironmentRequest,
    DeleteEnvironmentRequest,
    UpdateEnvironmentRequest,
)
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import (
    ArchiveEventTypeRequest,
    CreateEventTypeRequest,
    DeleteEventTypeRequest,
    ImportOpenApiRequest,
    UpdateEventTypeRequest,
)
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import CreateMessageRequest, DeleteMessagePayloadRequest
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    DeleteOperationalWebhookRequest,
    GetOperationalWebhookSecretRequest,
    UpdateOperationalWebhookRequest,
)
from octohooks_server.store import audit

from tests.receivers import Receiver
from tests.server.api.ages import World
from tests.server.api.calls import Api
from tests.server.api.deliveries import attempted
from tests.server.api.home import Home
from tests.server.api.rpcs import BY_METHOD, BY_REQUEST_TYPE, RPCS
from tests.server.api.serving import Server, Tenant
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

# What must never be found in the log.
CANARY = "canary-3b1f"
SECRET = "whsec_" + "Y2FuYXJ5LTNiMWZjYW5hcnktM2IxZmNhbmFyeQ=="
URL = f"https://example.com/{CANARY}"
DOCUMENT = """{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "webhooks": {
    "imported.one": {"post": {"responses": {}}}, "imported.two": {"post": {"responses": {}}}}}"""
A_DAY_AGO = Timestamp(seconds=int((datetime.now(UTC) - timedelta(days=1)).timestamp()))


async def events(api: Api, **filters: Any) -> list[AuditEvent]:
    """The log as the holder of a key sees it, the oldest event first."""
    answer = await api(ListAuditEventsRequest(page_size=250, **filters))
    return list(reversed(answer.audit_events))


@dataclass(frozen=True)
class Written:
    """What was written for each call, and for whom."""

    tenant: Tenant
    operator: Api
    # The events of each RPC, by its name.
    by_method: dict[str, list[AuditEvent]]
    key_id: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def written(server: Server) -> AsyncIterator[Written]:
    """One call of each RPC that changes something, and of some that do not."""
    made = await server.operator(
        CreateEnvironmentRequest(environment=Environment(name=f"{CANARY} environment"))
    )
    id = made.environment.id
    key = await server.operator(
        CreateApiKeyRequest(environment=id, api_key=ApiKey(name="the key of the test"))
    )
    tenant = await server.tenant(id, key.key)
    api, octohooks = tenant.api, tenant.octohooks
    async with Receiver() as receiver:
        await api(
            CreateApplicationRequest(application=Application(uid="acme", metadata={"m": CANARY}))
        )
        await api(
            CreateEventTypeRequest(event_type=EventType(name="e", examples=[f'["{CANARY}"]']))
        )
        endpoint = Endpoint(url=receiver.url, uid="main", headers={"x-token": CANARY})
        await api(CreateEndpointRequest(application="acme", endpoint=endpoint, secret=SECRET))
        message = WebhookMessage(event_type="e", payload=b'"%s"' % CANARY.encode(), uid="m")
        await api(CreateMessageRequest(application="acme", message=message))
        await attempted(octohooks, 1)
        about: dict[str, Any] = {"application": "acme", "endpoint": "main"}
        webhook = OperationalWebhook(url=URL, uid="op", headers={"x-token": CANARY}, disabled=True)
        second = await api(CreateApiKeyRequest())
        third = await api(RotateApiKeyRequest(api_key=second.api_key.id))
        for request in (
            UpdateApplicationRequest(application="acme", values=Application(name=CANARY)),
            UpdateEndpointRequest(
                **about,
                values=Endpoint(description=CANARY, headers={"x-token": CANARY + "2"}, uid="main"),
            ),
            GetEndpointSecretRequest(**about),
            RotateEndpointSecretRequest(**about, secret=SECRET),
            SendExampleRequest(**about, event_type="e"),
            RecoverEndpointRequest(**about, since=A_DAY_AGO),
            ReplayEndpointRequest(**about, since=A_DAY_AGO),
            ResendDeliveryRequest(**about, message="m"),
            DeleteMessagePayloadRequest(application="acme", message="m"),
            UpdateEventTypeRequest(event_type="e", values=EventType(description=CANARY)),
            ArchiveEventTypeRequest(event_type="e"),
            DeleteEventTypeRequest(event_type="e"),
            ImportOpenApiRequest(document=DOCUMENT),
            ImportOpenApiRequest(document=DOCUMENT, dry_run=True),
            CreateOperationalWebhookRequest(operational_webhook=webhook, secret=SECRET),
            UpdateOperationalWebhookRequest(
                operational_webhook="op", values=OperationalWebhook(description=CANARY)
            ),
            GetOperationalWebhookSecretRequest(operational_webhook="op"),
            DeleteOperationalWebhookRequest(operational_webhook="op"),
            DeleteEndpointRequest(**about),
            RevokeApiKeyRequest(api_key=third.api_key.id),
            DeleteApplicationRequest(application="acme"),
        ):
            await api(request)
    await server.operator(UpdateEnvironmentRequest(environment=id, values=Environment(name=CANARY)))
    other = (await server.new_tenant()).id
    await server.operator(DeleteEnvironmentRequest(environment=other))
    by_method: dict[str, list[AuditEvent]] = {}
    for event in await events(server.operator, environment=id) + await events(
        server.operator, environment=other, methods=["DeleteEnvironment"]
    ):
        by_method.setdefault(event.method, []).append(event)
    yield Written(tenant, server.operator, by_method, key.api_key.id)


def changes_something(method: str) -> bool:
    """Whether calls of the RPC are written down: all but reading, less of secrets, and sending."""
    service = BY_METHOD[method].path.split("/")[1]
    assert service
    if method in ("GetEndpointSecret", "GetOperationalWebhookSecret"):
        return True
    return access_of(method) != Access.ACCESS_SEND and not method.startswith(
        ("Get", "List", "Explain", "Watch")
    )


def access_of(method: str) -> int:
    """What the contract says that the RPC takes."""
    request = BY_METHOD[method].request_type.DESCRIPTOR
    for service in request.file.services_by_name.values():
        if method in service.methods_by_name:
            return int(service.methods_by_name[method].GetOptions().Extensions[access])
    raise AssertionError(method)


@pytest.mark.one_database_is_enough
async def test_every_change_is_written_down_and_nothing_else(written: Written) -> None:
    assert set(written.by_method) == {rpc.method for rpc in RPCS if changes_something(rpc.method)}


@pytest.mark.one_database_is_enough
async def test_an_event_says_who_did_what_when_and_from_where(written: Written) -> None:
    (event,) = written.by_method["UpdateEndpoint"]

    assert re.fullmatch("audit_[0-9A-Z]{26}", event.id)
    assert abs(event.create_time.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=10)
    assert event.environment == written.tenant.id
    assert (event.api_key, event.api_key_name) == (written.key_id, "the key of the test")
    assert event.resource_type == "endpoint"
    assert event.resource.startswith("ep_")
    assert event.application.startswith("app_")
    assert list(event.changed_fields) == ["description", "headers"]
    assert re.fullmatch("[0-9a-f]{32}", event.request_id)
    assert re.fullmatch(r"ipv4:127\.0\.0\.1:\d+", event.peer)


@pytest.mark.one_database_is_enough
@pytest.mark.parametrize(
    ("method", "resource_type", "changed"),
    [
        ("CreateApiKey", "api_key", [["name"], []]),
        ("RotateApiKey", "api_key", None),
        ("RevokeApiKey", "api_key", [[]]),
        ("CreateApplication", "application", [["metadata", "uid"]]),
        ("UpdateApplication", "application", [["name"]]),
        ("DeleteApplication", "application", [[]]),
        ("CreateEndpoint", "endpoint", [["headers", "secret", "uid", "url"]]),
        ("GetEndpointSecret", "endpoint", [[]]),
        ("RotateEndpointSecret", "endpoint", [["secret"]]),
        ("ResendDelivery", "delivery", [[]]),
        ("DeleteMessagePayload", "message", [[]]),
        ("CreateEventType", "event_type", [["examples", "name"]]),
        ("UpdateEventType", "event_type", [["description"]]),
        ("ArchiveEventType", "event_type", [["archived"]]),
        ("ImportOpenApi", "event_type", None),
        (
            "CreateOperationalWebhook",
            "operational_webhook",
            [["disabled", "headers", "secret", "uid", "url"]],
        ),
        ("UpdateOperationalWebhook", "operational_webhook", [["description"]]),
        ("CreateEnvironment", "environment", [["name"]]),
        ("UpdateEnvironment", "environment", [["name"]]),
        ("DeleteEnvironment", "environment", [[]]),
    ],
)
async def test_an_event_names_the_resource_and_the_fields(
    written: Written, method: str, resource_type: str, changed: list[list[str]] | None
) -> None:
    found = written.by_method[method]

    assert {event.resource_type for event in found} == {resource_type}
    assert all(event.resource for event in found)
    if changed is not None:
        assert [list(event.changed_fields) for event in found] == changed


@pytest.mark.one_database_is_enough
async def test_a_rotation_tells_of_the_old_key_and_the_new_one(written: Written) -> None:
    old, new = written.by_method["RotateApiKey"]

    assert old.resource == written.by_method["CreateApiKey"][-1].resource
    assert list(old.changed_fields) == ["expire_time"]
    assert new.resource == written.by_method["RevokeApiKey"][0].resource
    assert old.request_id == new.request_id


@pytest.mark.one_database_is_enough
async def test_an_import_tells_of_each_event_type_and_a_dry_run_of_none(written: Written) -> None:
    found = written.by_method["ImportOpenApi"]

    assert [event.resource for event in found] == ["imported.one", "imported.two"]
    assert len({event.request_id for event in found}) == 1


@pytest.mark.one_database_is_enough
async def test_no_event_holds_a_secret_a_payload_or_what_a_field_was_set_to(
    written: Written,
) -> None:
    every = [event for found in written.by_method.values() for event in found]

    for text in (CANARY, SECRET, written.tenant.key):
        assert text not in str(every)


@pytest.mark.one_database_is_enough
async def test_the_operator_is_told_apart_from_every_key(written: Written) -> None:
    (event,) = written.by_method["UpdateEnvironment"]

    assert (event.api_key, event.api_key_name) == ("", "")
    found = await events(written.operator, environment=written.tenant.id, actor="operator")
    assert [one.method for one in found] == [
        "CreateEnvironment",
        "CreateApiKey",
        "UpdateEnvironment",
    ]


async def test_an_environment_sees_what_happened_in_it_and_no_more(
    server: Server, tenant: Tenant, other_tenant: Tenant
) -> None:
    for one in (tenant, other_tenant):
        await one.octohooks.application.create()

    mine = await events(tenant.api)

    assert {event.environment for event in mine} == {tenant.id}
    assert [event.method for event in mine] == [
        "CreateEnvironment",
        "CreateApiKey",
        "CreateApplication",
    ]
    assert mine == await events(tenant.api, environment=tenant.id)
    of_both = {event.environment for event in await events(server.operator)}
    assert of_both >= {tenant.id, other_tenant.id}


async def test_the_log_is_filtered(tenant: Tenant) -> None:
    octohooks = tenant.octohooks
    first = await octohooks.application.create(uid="first")
    await octohooks.application.create(uid="second")
    endpoint = await octohooks.endpoint.create("first", url=URL)
    await octohooks.endpoint.delete("first", endpoint.id)
    key = await octohooks.api_key.create()
    await octohooks.event_type.create("e")
    everything = await events(tenant.api)
    (creation,) = [event for event in everything if event.method == "CreateEndpoint"]

    async def methods(**filters: Any) -> list[str]:
        return [event.method for event in await events(tenant.api, **filters)]

    of_endpoint = ["CreateEndpoint", "DeleteEndpoint"]
    assert await methods(methods=of_endpoint) == of_endpoint
    assert await methods(resource=endpoint.id) == of_endpoint
    assert await methods(resource=first.id) == ["CreateApplication", *of_endpoint]
    assert await methods(resource="e") == ["CreateEventType"]
    assert await methods(actor=key.api_key.id) == []
    assert await methods(actor=creation.api_key, methods=["CreateEventType"]) == ["CreateEventType"]
    at = everything.index(creation)
    assert await events(tenant.api, after=creation.create_time) == everything[at:]
    assert await events(tenant.api, before=creation.create_time) == everything[:at]


@pytest.mark.one_database_is_enough
@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"methods": ["CreateEndpoint", "Nothing"]}, "methods[1]"),
        ({"methods": ["CreateEndpoint"] * 51}, "methods"),
        ({"after": Timestamp(seconds=-(10**15))}, "after"),
        ({"before": Timestamp(seconds=10**15)}, "before"),
        ({"after": Timestamp(seconds=2), "before": Timestamp(seconds=1)}, "before"),
        ({"actor": "key\0"}, "actor"),
        ({"resource": "ep\0"}, "resource"),
        ({"environment": "env\0"}, "environment"),
    ],
)
async def test_wrong_filters_are_refused(
    shared_tenant: Tenant, filters: dict[str, Any], field: str
) -> None:
    refusal = await shared_tenant.api.refusal(ListAuditEventsRequest(**filters))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [field]


@pytest.mark.usefixtures("acme")
async def test_there_is_no_change_without_its_event(
    api: Api, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are one transaction: where the event cannot be written, nothing is."""
    about: dict[str, Any] = {"application": "acme"}
    requests: list[Message] = [
        CreateEndpointRequest(**about, endpoint=Endpoint(url=URL)),
        UpdateApplicationRequest(**about, values=Application(name="changed")),
        DeleteApplicationRequest(**about),
        CreateApiKeyRequest(),
        CreateEventTypeRequest(event_type=EventType(name="e")),
    ]

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(audit, "add", fail)
        for request in requests:
            assert (await api.refusal(request)).code == "INTERNAL"

    octohooks = tenant.octohooks
    assert (await octohooks.application.get("acme")).name != "changed"
    assert not [one async for one in octohooks.endpoint.list("acme")]
    assert len([one async for one in octohooks.api_key.list()]) == 1
    assert [one.method for one in await events(api)][-1] == "CreateApplication"


async def test_a_repeated_call_is_written_down_once(api: Api) -> None:
    request = CreateApplicationRequest()

    await asyncio.gather(*(api(request, idempotency_key="once") for _ in range(3)))

    assert len(await events(api, methods=["CreateApplication"])) == 1


async def test_what_is_refused_is_not_written_down(api: Api) -> None:
    before = await events(api)

    await api.refusal(DeleteApplicationRequest(application="nobody"))
    await api.refusal(GetEndpointSecretRequest(application="nobody", endpoint="none"))

    assert await events(api) == before


@pytest.mark.one_database_is_enough
async def test_the_log_is_kept_as_long_as_history(home: Home) -> None:
    world = World(home, history_retention=timedelta(days=90))
    async with world.at() as tenant:
        assert await events(tenant.api)
    async with world.at(days=91) as tenant:
        await tenant.octohooks.application.create(uid="new")

        async def cleaned() -> bool:
            return [event.method for event in await events(tenant.api)] == ["CreateApplication"]

        await eventually(cleaned)


async def test_the_request_id_in_the_log_is_the_caller_s_own(api: Api) -> None:
    request = CreateApplicationRequest()

    await api.exchange(
        BY_REQUEST_TYPE[type(request)],
        [request.SerializeToString()],
        (("request-id", "from-the-caller-1"),),
    )

    (event,) = await events(api, methods=["CreateApplication"])
    assert event.request_id == "from-the-caller-1"
