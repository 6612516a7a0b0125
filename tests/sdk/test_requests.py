"""Which request each method sends for its keyword arguments."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import Octohooks
from octohooks.calls import SERVICES
from octohooks.v1.api_key_pb2 import API_KEY_ROLE_APPLICATION, ApiKey
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
    RotateApiKeyRequest,
)
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    DeleteApplicationRequest,
    GetApplicationRequest,
    ListApplicationsRequest,
    UpdateApplicationRequest,
)
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED
from octohooks.v1.attempt_service_pb2 import (
    ATTEMPT_EVENT_KIND_CANCELLED,
    ATTEMPT_EVENT_KIND_FAILED,
    GetAttemptRequest,
    GetDeliveryRequest,
    ListAttemptsRequest,
    ListDeliveriesRequest,
    ResendDeliveryRequest,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)
from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED, DELIVERY_STATUS_PENDING
from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_ED25519, SIGNATURE_TYPE_HMAC_SHA256, Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    DeleteEndpointRequest,
    GetEndpointRequest,
    GetEndpointSecretRequest,
    GetEndpointStatsRequest,
    ListEndpointsRequest,
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
    GetEnvironmentRequest,
    ListEnvironmentsRequest,
    UpdateEnvironmentRequest,
)
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import (
    ArchiveEventTypeRequest,
    CreateEventTypeRequest,
    DeleteEventTypeRequest,
    GetEventTypeRequest,
    ImportOpenApiRequest,
    ListEventTypesRequest,
    UpdateEventTypeRequest,
)
from octohooks.v1.job_service_pb2 import GetJobRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    DeleteMessagePayloadRequest,
    ExplainMessageRequest,
    GetMessageRequest,
    ListMessagesRequest,
)
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    DeleteOperationalWebhookRequest,
    GetOperationalWebhookRequest,
    GetOperationalWebhookSecretRequest,
    ListOperationalWebhooksRequest,
    UpdateOperationalWebhookRequest,
)
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

from tests.sdk.fake_server import FakeServer

# 12:00 in a time zone that is not UTC, as callers have it.
NOON = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
NOON_TIMESTAMP = Timestamp(seconds=int(datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()))
ONE_TIMESTAMP = Timestamp(seconds=NOON_TIMESTAMP.seconds + 3600)
ONE = NOON + timedelta(hours=1)


class Case(NamedTuple):
    """A call, and the request that it sends."""

    name: str
    call: Callable[[Octohooks], Any]
    request: ProtobufMessage


CASES = [
    Case(
        "create environment",
        lambda c: c.environment.create(
            "Production",
            retry_schedule=[0, 0.5, timedelta(minutes=5)],
            payload_retention=timedelta(days=30),
            default_signature_type="ed25519",
            enforce_schemas=True,
        ),
        CreateEnvironmentRequest(
            environment=Environment(
                name="Production",
                retry_schedule=RetrySchedule(
                    steps=[Duration(), Duration(nanos=500_000_000), Duration(seconds=300)]
                ),
                payload_retention=Duration(seconds=30 * 86_400),
                default_signature_type=SIGNATURE_TYPE_ED25519,
                enforce_schemas=True,
            )
        ),
    ),
    Case(
        "get environment",
        lambda c: c.environment.get("env_1"),
        GetEnvironmentRequest(environment="env_1"),
    ),
    Case(
        "list environments",
        lambda c: [*c.environment.list(page_size=7)],
        ListEnvironmentsRequest(page_size=7),
    ),
    Case(
        "update environment",
        lambda c: c.environment.update("env_1", retry_schedule=None, enforce_schemas=False),
        UpdateEnvironmentRequest(
            environment="env_1",
            values=Environment(),
            update_mask=FieldMask(paths=["retry_schedule", "enforce_schemas"]),
        ),
    ),
    Case(
        "delete environment",
        lambda c: c.environment.delete("env_1"),
        DeleteEnvironmentRequest(environment="env_1"),
    ),
    Case(
        "create API key",
        lambda c: c.api_key.create(name="billing", environment="env_1", expire_time=NOON),
        CreateApiKeyRequest(
            environment="env_1", api_key=ApiKey(name="billing", expire_time=NOON_TIMESTAMP)
        ),
    ),
    Case(
        "create API key of one application",
        lambda c: c.api_key.create(
            role="application",
            application="some-user",
            max_requests_per_second=20,
            max_watches=3,
        ),
        CreateApiKeyRequest(
            api_key=ApiKey(
                role=API_KEY_ROLE_APPLICATION,
                application="some-user",
                max_requests_per_second=20,
                max_watches=3,
            )
        ),
    ),
    Case(
        "list the audit log",
        lambda c: [*c.audit.list()],
        ListAuditEventsRequest(page_size=50),
    ),
    Case(
        "list some of the audit log",
        lambda c: [
            *c.audit.list(
                environment="env_1",
                actor="operator",
                methods=["UpdateEndpoint"],
                resource="ep_1",
                after=NOON,
                before=NOON,
                page_size=7,
            )
        ],
        ListAuditEventsRequest(
            environment="env_1",
            actor="operator",
            methods=["UpdateEndpoint"],
            resource="ep_1",
            after=NOON_TIMESTAMP,
            before=NOON_TIMESTAMP,
            page_size=7,
        ),
    ),
    Case(
        "list API keys",
        lambda c: [*c.api_key.list(environment="env_1", page_size=7)],
        ListApiKeysRequest(environment="env_1", page_size=7),
    ),
    Case(
        "rotate API key",
        lambda c: c.api_key.rotate("key_1", overlap=timedelta(hours=1)),
        RotateApiKeyRequest(api_key="key_1", overlap=Duration(seconds=3600)),
    ),
    Case(
        "revoke API key", lambda c: c.api_key.revoke("key_1"), RevokeApiKeyRequest(api_key="key_1")
    ),
    Case(
        "create application",
        lambda c: c.application.create(
            uid="some-user", name="Some User", rate_limit=5, metadata={"plan": "pro"}
        ),
        CreateApplicationRequest(
            application=Application(
                uid="some-user", name="Some User", rate_limit=5, metadata={"plan": "pro"}
            )
        ),
    ),
    Case(
        "create application with nothing",
        lambda c: c.application.create(uid=None, metadata=None),
        CreateApplicationRequest(application=Application()),
    ),
    Case(
        "get application",
        lambda c: c.application.get("some-user"),
        GetApplicationRequest(application="some-user"),
    ),
    Case(
        "list applications",
        lambda c: [*c.application.list()],
        ListApplicationsRequest(page_size=50),
    ),
    Case(
        "update application, as in overview.md",
        lambda c: c.application.update("some-user", name="Some User Application"),
        UpdateApplicationRequest(
            application="some-user",
            values=Application(name="Some User Application"),
            update_mask=FieldMask(paths=["name"]),
            allow_missing=True,
        ),
    ),
    Case(
        "update application by clearing",
        lambda c: c.application.update(
            "some-user", allow_missing=False, name="", uid=None, metadata={}
        ),
        UpdateApplicationRequest(
            application="some-user",
            values=Application(),
            update_mask=FieldMask(paths=["name", "uid", "metadata"]),
        ),
    ),
    Case(
        "delete application",
        lambda c: c.application.delete("some-user"),
        DeleteApplicationRequest(application="some-user"),
    ),
    Case(
        "create event type",
        lambda c: c.event_type.create(
            "invoice.paid",
            description="An invoice was paid",
            schema={"type": "object"},
            examples=[{"id": 1}, '{ "id": 2 }'],
            metadata={"group": "invoices"},
        ),
        CreateEventTypeRequest(
            event_type=EventType(
                name="invoice.paid",
                description="An invoice was paid",
                schema='{"type":"object"}',
                examples=['{"id":1}', '{ "id": 2 }'],
                metadata={"group": "invoices"},
            )
        ),
    ),
    Case(
        "get event type",
        lambda c: c.event_type.get("invoice.paid"),
        GetEventTypeRequest(event_type="invoice.paid"),
    ),
    Case(
        "list event types",
        lambda c: [*c.event_type.list(include_archived=True, page_size=7)],
        ListEventTypesRequest(include_archived=True, page_size=7),
    ),
    Case(
        "update event type",
        lambda c: c.event_type.update(
            "invoice.paid", allow_missing=True, schema=None, archived=False, examples=[]
        ),
        UpdateEventTypeRequest(
            event_type="invoice.paid",
            values=EventType(),
            update_mask=FieldMask(paths=["schema", "archived", "examples"]),
            allow_missing=True,
        ),
    ),
    Case(
        "archive event type",
        lambda c: c.event_type.archive("invoice.paid"),
        ArchiveEventTypeRequest(event_type="invoice.paid"),
    ),
    Case(
        "delete event type",
        lambda c: c.event_type.delete("invoice.paid"),
        DeleteEventTypeRequest(event_type="invoice.paid"),
    ),
    Case(
        "import OpenAPI",
        lambda c: c.event_type.import_openapi("openapi: 3.1.0", dry_run=True),
        ImportOpenApiRequest(document="openapi: 3.1.0", dry_run=True),
    ),
    Case(
        "import OpenAPI from a mapping",
        lambda c: c.event_type.import_openapi({"openapi": "3.1.0"}),
        ImportOpenApiRequest(document='{"openapi":"3.1.0"}'),
    ),
    Case(
        "create endpoint",
        lambda c: c.endpoint.create(
            "some-user",
            url="https://example.com/hook",
            secret="whsec_x",
            uid="main",
            description="Main",
            event_types=["invoice.paid"],
            channels=("eu", "us"),
            headers={"x-tenant": "1"},
            rate_limit=9,
            retry_schedule=[timedelta(0), 5],
            signature_type="hmac_sha256",
            disabled=True,
            metadata={"a": "b"},
        ),
        CreateEndpointRequest(
            application="some-user",
            secret="whsec_x",
            endpoint=Endpoint(
                url="https://example.com/hook",
                uid="main",
                description="Main",
                event_types=["invoice.paid"],
                channels=["eu", "us"],
                headers={"x-tenant": "1"},
                rate_limit=9,
                retry_schedule=RetrySchedule(steps=[Duration(), Duration(seconds=5)]),
                signature_type=SIGNATURE_TYPE_HMAC_SHA256,
                disabled=True,
                metadata={"a": "b"},
            ),
        ),
    ),
    Case(
        "get endpoint",
        lambda c: c.endpoint.get("some-user", "main"),
        GetEndpointRequest(application="some-user", endpoint="main"),
    ),
    Case(
        "list endpoints",
        lambda c: [*c.endpoint.list("some-user", page_size=7)],
        ListEndpointsRequest(application="some-user", page_size=7),
    ),
    Case(
        "update endpoint",
        lambda c: c.endpoint.update(
            "some-user", "main", event_types=[], url="https://b.test", signature_type=2
        ),
        UpdateEndpointRequest(
            application="some-user",
            endpoint="main",
            values=Endpoint(url="https://b.test", signature_type=SIGNATURE_TYPE_ED25519),
            update_mask=FieldMask(paths=["event_types", "url", "signature_type"]),
        ),
    ),
    Case(
        "delete endpoint",
        lambda c: c.endpoint.delete("some-user", "main"),
        DeleteEndpointRequest(application="some-user", endpoint="main"),
    ),
    Case(
        "get endpoint secret",
        lambda c: c.endpoint.secret("some-user", "main"),
        GetEndpointSecretRequest(application="some-user", endpoint="main"),
    ),
    Case(
        "rotate endpoint secret",
        lambda c: c.endpoint.rotate_secret(
            "some-user", "main", secret="whsec_x", overlap=timedelta(hours=2)
        ),
        RotateEndpointSecretRequest(
            application="some-user",
            endpoint="main",
            secret="whsec_x",
            overlap=Duration(seconds=7200),
        ),
    ),
    Case(
        "rotate endpoint secret without an overlap",
        lambda c: c.endpoint.rotate_secret("some-user", "main", overlap=0),
        RotateEndpointSecretRequest(
            application="some-user", endpoint="main", overlap=Duration(seconds=0)
        ),
    ),
    Case(
        "endpoint statistics",
        lambda c: c.endpoint.stats("some-user", "main", after=NOON, before=ONE),
        GetEndpointStatsRequest(
            application="some-user", endpoint="main", after=NOON_TIMESTAMP, before=ONE_TIMESTAMP
        ),
    ),
    Case(
        "recover endpoint",
        lambda c: c.endpoint.recover("some-user", "main", since=NOON, until=ONE),
        RecoverEndpointRequest(
            application="some-user", endpoint="main", since=NOON_TIMESTAMP, until=ONE_TIMESTAMP
        ),
    ),
    Case(
        "replay endpoint",
        lambda c: c.endpoint.replay("some-user", "main", since=NOON),
        ReplayEndpointRequest(application="some-user", endpoint="main", since=NOON_TIMESTAMP),
    ),
    Case(
        "send example",
        lambda c: c.endpoint.send_example("some-user", "main", event_type="invoice.paid"),
        SendExampleRequest(application="some-user", endpoint="main", event_type="invoice.paid"),
    ),
    Case(
        "create message",
        lambda c: c.message.create(
            "some-user",
            event_type="invoice.paid",
            payload={"id": 1, "name": "Zoë"},
            channels=["eu"],
            uid="invoice-1",
            tags={"region": "eu"},
            payload_retention=timedelta(days=5),
            inline_application={"name": "Some User"},
        ),
        CreateMessageRequest(
            application="some-user",
            message=Message(
                event_type="invoice.paid",
                payload='{"id":1,"name":"Zoë"}'.encode(),
                channels=["eu"],
                uid="invoice-1",
                tags={"region": "eu"},
                payload_retention=Duration(seconds=5 * 86_400),
            ),
            inline_application=Application(uid="some-user", name="Some User"),
        ),
    ),
    Case(
        "create message with bytes, which go as they are",
        lambda c: c.message.create(
            "some-user",
            event_type="invoice.paid",
            payload=b'{ "id" : 1.0 }\n',
            inline_application=Application(uid="some-user", rate_limit=3),
        ),
        CreateMessageRequest(
            application="some-user",
            message=Message(event_type="invoice.paid", payload=b'{ "id" : 1.0 }\n'),
            inline_application=Application(uid="some-user", rate_limit=3),
        ),
    ),
    Case(
        "create messages in a batch",
        lambda c: c.message.create_batch(
            [
                {"application": "a", "event_type": "x", "payload": [1]},
                {"application": "b", "event_type": "y", "payload": "null", "uid": "1"},
            ]
        ),
        BatchCreateMessagesRequest(
            requests=[
                CreateMessageRequest(
                    application="a", message=Message(event_type="x", payload=b"[1]")
                ),
                CreateMessageRequest(
                    application="b", message=Message(event_type="y", payload=b"null", uid="1")
                ),
            ]
        ),
    ),
    Case(
        "get message",
        lambda c: c.message.get("some-user", "invoice-1"),
        GetMessageRequest(application="some-user", message="invoice-1"),
    ),
    Case(
        "list messages",
        lambda c: [
            *c.message.list(
                "some-user",
                page_size=7,
                event_types=["x"],
                channels=["eu"],
                tags={"a": "b"},
                after=NOON,
                before=ONE,
            )
        ],
        ListMessagesRequest(
            application="some-user",
            page_size=7,
            event_types=["x"],
            channels=["eu"],
            tags={"a": "b"},
            after=NOON_TIMESTAMP,
            before=ONE_TIMESTAMP,
        ),
    ),
    Case(
        "delete message payload",
        lambda c: c.message.delete_payload("some-user", "invoice-1"),
        DeleteMessagePayloadRequest(application="some-user", message="invoice-1"),
    ),
    Case(
        "explain message",
        lambda c: [*c.message.explain("some-user", "invoice-1", page_size=7)],
        ExplainMessageRequest(application="some-user", message="invoice-1", page_size=7),
    ),
    Case(
        "list deliveries",
        lambda c: [
            *c.delivery.list(
                application="a",
                message="m",
                endpoint="e",
                page_size=7,
                statuses=["failed", DELIVERY_STATUS_PENDING],
                event_types=["x"],
                channels=["eu"],
                tags={"a": "b"},
                after=NOON,
                before=ONE,
            )
        ],
        ListDeliveriesRequest(
            application="a",
            message="m",
            endpoint="e",
            page_size=7,
            statuses=[DELIVERY_STATUS_FAILED, DELIVERY_STATUS_PENDING],
            event_types=["x"],
            channels=["eu"],
            tags={"a": "b"},
            after=NOON_TIMESTAMP,
            before=ONE_TIMESTAMP,
        ),
    ),
    Case(
        "get delivery",
        lambda c: c.delivery.get(application="a", message="m", endpoint="e"),
        GetDeliveryRequest(application="a", message="m", endpoint="e"),
    ),
    Case(
        "resend delivery",
        lambda c: c.delivery.resend(message="msg_1", endpoint="ep_1"),
        ResendDeliveryRequest(message="msg_1", endpoint="ep_1"),
    ),
    Case(
        "list attempts",
        lambda c: [*c.attempt.list(application="a", outcomes=["failed"], after=NOON)],
        ListAttemptsRequest(
            application="a",
            page_size=50,
            outcomes=[ATTEMPT_OUTCOME_FAILED],
            after=NOON_TIMESTAMP,
        ),
    ),
    Case("get attempt", lambda c: c.attempt.get("atmpt_1"), GetAttemptRequest(attempt="atmpt_1")),
    Case(
        "create operational webhook",
        lambda c: c.operational_webhook.create(
            url="https://example.com/ops", event_types=["endpoint.disabled"], secret="whsec_x"
        ),
        CreateOperationalWebhookRequest(
            operational_webhook=OperationalWebhook(
                url="https://example.com/ops", event_types=["endpoint.disabled"]
            ),
            secret="whsec_x",
        ),
    ),
    Case(
        "get operational webhook",
        lambda c: c.operational_webhook.get("ops"),
        GetOperationalWebhookRequest(operational_webhook="ops"),
    ),
    Case(
        "list operational webhooks",
        lambda c: [*c.operational_webhook.list(page_size=7)],
        ListOperationalWebhooksRequest(page_size=7),
    ),
    Case(
        "update operational webhook",
        lambda c: c.operational_webhook.update("ops", disabled=False, description=""),
        UpdateOperationalWebhookRequest(
            operational_webhook="ops",
            values=OperationalWebhook(),
            update_mask=FieldMask(paths=["disabled", "description"]),
        ),
    ),
    Case(
        "delete operational webhook",
        lambda c: c.operational_webhook.delete("ops"),
        DeleteOperationalWebhookRequest(operational_webhook="ops"),
    ),
    Case(
        "get operational webhook secret",
        lambda c: c.operational_webhook.secret("ops"),
        GetOperationalWebhookSecretRequest(operational_webhook="ops"),
    ),
    Case("get job", lambda c: c.job.get("job_1"), GetJobRequest(job="job_1")),
]

WATCHES = [
    Case(
        "watch from a time",
        lambda c: c.attempt.watch(
            application="a",
            endpoint="e",
            message="m",
            event_types=["x"],
            kinds=["failed", ATTEMPT_EVENT_KIND_CANCELLED],
            since=NOON,
        ),
        WatchAttemptsRequest(
            application="a",
            endpoint="e",
            message="m",
            event_types=["x"],
            kinds=[ATTEMPT_EVENT_KIND_FAILED, ATTEMPT_EVENT_KIND_CANCELLED],
            since=NOON_TIMESTAMP,
        ),
    ),
    Case(
        "watch from a token",
        lambda c: c.attempt.watch(resume_token="t"),
        WatchAttemptsRequest(resume_token="t"),
    ),
    Case(
        "watch from an empty token, which is none",
        lambda c: c.attempt.watch(resume_token="", since=NOON),
        WatchAttemptsRequest(since=NOON_TIMESTAMP),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_method_sends_the_request_that_its_arguments_say(
    case: Case, client: Octohooks, server: FakeServer
) -> None:
    case.call(client)
    [received] = server.received
    assert received.request == case.request


@pytest.mark.parametrize("case", WATCHES, ids=lambda case: case.name)
def test_a_watch_sends_the_request_that_its_arguments_say(
    case: Case, client: Octohooks, server: FakeServer
) -> None:
    server.on("WatchAttempts", lambda request, context: [WatchAttemptsResponse()])
    case.call(client).wait_until_live()
    assert server.requests("WatchAttempts") == [case.request]


def test_every_rpc_of_the_contract_has_a_method() -> None:
    tested = {type(case.request).DESCRIPTOR.full_name for case in [*CASES, *WATCHES]}
    rpcs = {method.input_type.full_name for service in SERVICES for method in service.methods}
    # Publishing has tests of its own, in test_publish.py.
    assert rpcs - tested == {"octohooks.v1.PublishMessagesRequest"}
