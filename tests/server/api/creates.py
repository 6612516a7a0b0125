"""Every method that makes something, with requests of it, and a place where they succeed."""

import uuid
from collections import Counter
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    RotateApiKeyRequest,
)
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.attempt_service_pb2 import ResendDeliveryRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    RecoverEndpointRequest,
    ReplayEndpointRequest,
    RotateEndpointSecretRequest,
    SendExampleRequest,
)
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import CreateEnvironmentRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    PublishMessagesRequest,
)
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
)

from tests.server.api.calls import Api, Refused, refusal_in
from tests.server.api.rows import rows_of
from tests.server.api.rpcs import BY_REQUEST_TYPE
from tests.server.api.serving import Server, Tenant

# Where nobody listens.
URL = "http://127.0.0.1:9/"
NOWHERE: dict[str, Any] = {"url": URL, "disabled": True}
ELSEWHERE: dict[str, Any] = {"url": f"{URL}other", "disabled": True}
DAY = 24 * 3600


def message(payload: bytes = b"{}", to: str = "acme") -> CreateMessageRequest:
    return CreateMessageRequest(
        application=to, message=WebhookMessage(event_type="e", payload=payload)
    )


def target(**more: Any) -> dict[str, Any]:
    return {"application": "acme", "endpoint": "main", **more}


# Two different requests of each method that makes something.
CREATES: dict[str, tuple[Message, Message]] = {
    "BatchCreateMessages": (
        BatchCreateMessagesRequest(requests=[message(), message()]),
        BatchCreateMessagesRequest(requests=[message()]),
    ),
    "CreateApiKey": (CreateApiKeyRequest(), CreateApiKeyRequest(api_key=ApiKey(name="other"))),
    "CreateApplication": (
        CreateApplicationRequest(application=Application(name="one")),
        CreateApplicationRequest(application=Application(name="other")),
    ),
    "CreateEndpoint": (
        CreateEndpointRequest(application="acme", endpoint=Endpoint(**NOWHERE)),
        CreateEndpointRequest(application="acme", endpoint=Endpoint(**ELSEWHERE)),
    ),
    "CreateEnvironment": (
        CreateEnvironmentRequest(environment=Environment(name="one")),
        CreateEnvironmentRequest(environment=Environment(name="other")),
    ),
    "CreateEventType": (CreateEventTypeRequest(), CreateEventTypeRequest()),
    "CreateMessage": (message(), message(b"[]")),
    "CreateOperationalWebhook": (
        CreateOperationalWebhookRequest(operational_webhook=OperationalWebhook(**NOWHERE)),
        CreateOperationalWebhookRequest(operational_webhook=OperationalWebhook(**ELSEWHERE)),
    ),
    "PublishMessages": (
        PublishMessagesRequest(message=message()),
        PublishMessagesRequest(message=message(b"[]")),
    ),
    "RecoverEndpoint": (
        RecoverEndpointRequest(**target(since=Timestamp(seconds=1))),
        RecoverEndpointRequest(**target(since=Timestamp(seconds=2))),
    ),
    "ReplayEndpoint": (
        ReplayEndpointRequest(**target(since=Timestamp(seconds=1))),
        ReplayEndpointRequest(**target(since=Timestamp(seconds=2))),
    ),
    "ResendDelivery": (
        ResendDeliveryRequest(**target(message="m")),
        ResendDeliveryRequest(**target(message="n")),
    ),
    "RotateApiKey": (RotateApiKeyRequest(), RotateApiKeyRequest()),
    "RotateEndpointSecret": (
        RotateEndpointSecretRequest(**target()),
        RotateEndpointSecretRequest(**target(overlap={"seconds": 60})),
    ),
    "SendExample": (
        SendExampleRequest(**target(event_type="e")),
        SendExampleRequest(**target(event_type="f")),
    ),
}


class Desk:
    """Where creates are asked for: an environment in which each of them can succeed."""

    def __init__(self, server: Server, tenant: Tenant, old_key: str) -> None:
        self.server = server
        self.tenant = tenant
        self._old_key = old_key

    @classmethod
    async def of(cls, server: Server) -> "Desk":
        tenant = await server.new_tenant()
        octohooks = tenant.octohooks
        await octohooks.application.create(uid="acme")
        await octohooks.endpoint.create("acme", url=URL, uid="main", retry_schedule=[24 * 3600])
        for name in ("e", "f"):
            await octohooks.event_type.create(name, examples=[{}])
        sent = {"application": "acme", "event_type": "e", "payload": "{}"}
        await octohooks.message.create_batch([{**sent, "uid": "m"}, {**sent, "uid": "n"}])  # type: ignore[typeddict-item]
        old = await octohooks.api_key.create(name="old")
        return cls(server, tenant, old.api_key.id)

    def requests(self, method: str) -> tuple[Message, Message]:
        """Two different requests of the method, other ones than before where names are taken."""
        if method == "CreateEventType":
            name = uuid.uuid4().hex
            return (
                CreateEventTypeRequest(event_type=EventType(name=name)),
                CreateEventTypeRequest(event_type=EventType(name=name, description="other")),
            )
        if method == "RotateApiKey":
            return (
                RotateApiKeyRequest(api_key=self._old_key, overlap=Duration(seconds=6 * DAY)),
                RotateApiKeyRequest(api_key=self._old_key, overlap=Duration(seconds=7 * DAY)),
            )
        return CREATES[method]

    def api(self, method: str) -> Api:
        """The API for a key that opens the method."""
        return self.server.operator if method == "CreateEnvironment" else self.tenant.api

    async def another_key(self, method: str) -> Api:
        """The API for another key that opens the method in this environment."""
        if method == "CreateEnvironment":
            return self.server.operator
        return self.server.api(await self.server.new_key(self.tenant.id))

    async def counts(self) -> Counter[str]:
        """How many rows each table holds of the environment, but for what comes by itself."""
        rows = await rows_of(self.server.database, self.tenant.id)
        del rows["attempts"], rows["idempotent_answers"]
        return Counter({table: len(found) for table, found in rows.items()})


async def ask(api: Api, request: Message, key: str | None) -> Message:
    """What a create answers under a key; Refused when it, or the one message in it, is."""
    rpc = BY_REQUEST_TYPE[type(request)]
    if not isinstance(request, PublishMessagesRequest):
        answer = await api(request, idempotency_key=key)
        assert isinstance(answer, Message)
        return answer
    keyed = PublishMessagesRequest(message=request.message, idempotency_key=key or "")
    (acknowledged,) = await api.exchange(rpc, [keyed.SerializeToString()])
    result = acknowledged.result
    if result.HasField("failure"):
        raise Refused(refusal_in(result.failure))
    assert isinstance(result, Message)
    return result
