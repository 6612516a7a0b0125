"""The page of limits tells the truth: each is reached by one call and overstepped by another."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest, RotateApiKeyRequest
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import CreateEndpointRequest, RotateEndpointSecretRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import CreateEnvironmentRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest, ImportOpenApiRequest
from octohooks.v1.message_pb2 import Message as Webhook
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    ListMessagesRequest,
)
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

from tests.docs.markdown import ROOT, rows
from tests.server.api.calls import Api
from tests.server.api.serving import Server, Tenant

PAGE = ROOT / "docs/limits.md"
URL = "https://example.com/"
KIB, DAY = 1024, 24 * 3600


@dataclass(frozen=True)
class Limit:
    """How much goes through, and a request with so much."""

    reached: int
    request: Callable[[int], Message]
    # A step in the direction in which it is overstepped.
    step: int = 1


def application(**fields: Any) -> Message:
    return CreateApplicationRequest(application=Application(**fields))


def endpoint(secret: str = "", **fields: Any) -> Message:
    fields.setdefault("url", URL)
    return CreateEndpointRequest(application="acme", endpoint=Endpoint(**fields), secret=secret)


def event_type(**fields: Any) -> Message:
    event_type.count += 1  # type: ignore[attr-defined]
    fields.setdefault("name", f"e.{event_type.count}")  # type: ignore[attr-defined]
    return CreateEventTypeRequest(event_type=EventType(**fields))


event_type.count = 0  # type: ignore[attr-defined]


def message(**fields: Any) -> CreateMessageRequest:
    fields = {"event_type": "e", "payload": b"{}", **fields}
    # Where no endpoint is, so that nothing has to be delivered.
    return CreateMessageRequest(application="quiet", message=Webhook(**fields))


def as_json(size: int) -> dict[str, str]:
    """Texts by name that take so many bytes as JSON."""
    return {"a": "x" * (size - len('{"a":""}'))}


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def secret(size: int) -> str:
    return f"whsec_{b64encode(bytes(size)).decode()}"


def steps(*seconds: int) -> RetrySchedule:
    return RetrySchedule(steps=[Duration(seconds=one) for one in seconds])


def schema(size: int) -> str:
    return orjson.dumps({"title": "x" * (size - len('{"title":""}'))}).decode()


def nested(levels: int) -> str:
    # The object in the middle is a level too.
    return '{"not":' * (levels - 1) + "{}" + "}" * (levels - 1)


def document(size: int) -> str:
    start, end = (
        '{"openapi":"3.1.0","info":{"title":"',
        '","version":"1"},"webhooks":{"e":{"post":{}}}}',
    )
    return start + "x" * (size - len(start) - len(end)) + end


LIMITS = {
    "UID": Limit(256, lambda n: application(uid="u" * n)),
    "name of an event type": Limit(256, lambda n: event_type(name="e" * n)),
    "name of an application": Limit(256, lambda n: application(name="é" * n)),
    "name of an environment": Limit(
        256, lambda n: CreateEnvironmentRequest(environment=Environment(name="é" * n))
    ),
    "name of an API key": Limit(256, lambda n: CreateApiKeyRequest(api_key=ApiKey(name="é" * n))),
    "description of an endpoint": Limit(1024, lambda n: endpoint(description="é" * n)),
    "description of an event type": Limit(4096, lambda n: event_type(description="é" * n)),
    "URL of an endpoint": Limit(2048, lambda n: endpoint(url=URL + "u" * (n - len(URL)))),
    "metadata of an application, an endpoint or an event type, as JSON": Limit(
        4 * KIB, lambda n: endpoint(metadata=as_json(n))
    ),
    "tags of a message, as JSON": Limit(4 * KIB, lambda n: message(tags=as_json(n))),
    "payload of a message": Limit(
        350 * KIB, lambda n: message(payload=b'"' + b"x" * (n - 2) + b'"')
    ),
    "a channel": Limit(128, lambda n: message(channels=["c" * n])),
    "channels of a message": Limit(5, lambda n: message(channels=names(n))),
    "channels of an endpoint": Limit(10, lambda n: endpoint(channels=names(n))),
    "event types of an endpoint": Limit(500, lambda n: endpoint(event_types=names(n))),
    "headers of an endpoint": Limit(50, lambda n: endpoint(headers=dict.fromkeys(names(n), "x"))),
    "name of a header": Limit(256, lambda n: endpoint(headers={"x" * n: "y"})),
    "value of a header": Limit(4 * KIB, lambda n: endpoint(headers={"x": "y" * n})),
    "symmetric secret, at least": Limit(24, lambda n: endpoint(secret(n)), step=-1),
    "symmetric secret, at most": Limit(64, lambda n: endpoint(secret(n))),
    "overlap of a rotated secret": Limit(
        7 * DAY,
        lambda n: RotateEndpointSecretRequest(
            application="acme", endpoint="main", overlap=Duration(seconds=n)
        ),
    ),
    "overlap of a rotated API key": Limit(
        7 * DAY, lambda n: RotateApiKeyRequest(api_key="KEY", overlap=Duration(seconds=n))
    ),
    "steps of a retry schedule": Limit(20, lambda n: endpoint(retry_schedule=steps(*[0] * n))),
    "one step of a retry schedule": Limit(DAY, lambda n: endpoint(retry_schedule=steps(0, n))),
    "rate limit of an application or an endpoint, per second": Limit(
        100_000, lambda n: endpoint(rate_limit=n)
    ),
    "an API key's own limits, of requests per second and of watches": Limit(
        100_000, lambda n: CreateApiKeyRequest(api_key=ApiKey(max_requests_per_second=n))
    ),
    "retention of payloads, at least": Limit(
        5 * DAY, lambda n: message(payload_retention=Duration(seconds=n)), step=-1
    ),
    "retention of payloads, at most": Limit(
        90 * DAY, lambda n: message(payload_retention=Duration(seconds=n))
    ),
    "messages in a batch": Limit(
        100, lambda n: BatchCreateMessagesRequest(requests=[message()] * n)
    ),
    "idempotency key": Limit(256, lambda n: application(name="k" * n)),
    "schema of an event type": Limit(64 * KIB, lambda n: event_type(schema=schema(n))),
    "levels of nesting in a schema": Limit(150, lambda n: event_type(schema=nested(n))),
    "examples of an event type": Limit(10, lambda n: event_type(examples=["{}"] * n)),
    "one example": Limit(64 * KIB, lambda n: event_type(examples=['"' + "x" * (n - 2) + '"'])),
    "OpenAPI document to import": Limit(
        KIB * KIB, lambda n: ImportOpenApiRequest(document=document(n))
    ),
    "event types in a filter": Limit(
        50, lambda n: ListMessagesRequest(application="quiet", event_types=names(n))
    ),
    "channels in a filter": Limit(
        10, lambda n: ListMessagesRequest(application="quiet", channels=names(n))
    ),
    "tags in a filter": Limit(
        10, lambda n: ListMessagesRequest(application="quiet", tags=dict.fromkeys(names(n), "x"))
    ),
    "methods in a filter of audit events": Limit(
        50,
        lambda n: ListAuditEventsRequest(methods=["UpdateEndpoint"] * n),
    ),
}

# Those that other tests show, by file and name.
SHOWN_BY = {
    "schemas within a schema, references followed": (
        "tests/server/api/test_schemas.py",
        "test_a_schema_that_would_take_for_ever_is_refused",
    ),
    "requests per second of an API key, at one server": (
        "tests/server/api/test_request_limits.py",
        "test_a_refusal_tells_when_the_next_request_passes",
    ),
    "open watches of an API key, at one server": (
        "tests/server/api/test_gate.py",
        "test_a_key_has_as_many_watches_as_it_may_and_others_are_not_held_up",
    ),
    "open watches of an environment, at one server": (
        "tests/server/api/test_watch.py",
        "test_more_watches_than_an_environment_may_have_are_refused",
    ),
    "one request, or one message of a stream": (
        "tests/server/test_transport.py",
        "test_a_request_that_is_too_large_is_refused",
    ),
    "metadata of a call": (
        "tests/server/test_transport.py",
        "test_a_call_with_too_much_metadata_is_refused",
    ),
    "calls at once on one connection": (
        "tests/server/test_transport.py",
        "test_calls_beyond_those_of_a_connection_wait",
    ),
    "connections to one server": (
        "tests/server/test_transport.py",
        "test_connections_beyond_the_limit_are_closed_until_others_end",
    ),
    "space on the server's disk": (
        "tests/acceptance/test_full_disk.py",
        "test_what_a_full_disk_refuses_is_not_stored_and_what_was_accepted_is",
    ),
}

ON_THE_PAGE = {row[0]: row for row in rows(PAGE) if len(row) == 4 and row[0] not in ("What", "---")}


def test_every_limit_on_the_page_is_shown_by_a_test() -> None:
    assert ON_THE_PAGE.keys() == LIMITS.keys() | SHOWN_BY.keys()
    for file, name in SHOWN_BY.values():
        assert f"def {name}(" in (ROOT / file).read_text("utf-8")


def said(text: str) -> int:
    """The number that the page gives, in characters, bytes or seconds."""
    number, _, unit = text.partition(" ")
    units = {"KiB": KIB, "MiB": KIB * KIB, "days": DAY, "hours": 3600}
    return int(number.replace(",", "")) * units.get(unit, 1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def furnished(server: Server) -> Tenant:
    """An environment with the applications `acme`, with its endpoint `main`, and `quiet`."""
    tenant = await server.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    await tenant.octohooks.application.create(uid="quiet")
    await tenant.octohooks.endpoint.create("acme", uid="main", url=URL)
    return tenant


@pytest.mark.one_database_is_enough
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("what", LIMITS)
async def test_a_limit_is_what_the_page_says(server: Server, furnished: Tenant, what: str) -> None:
    limit = LIMITS[what]
    _, number, error, field = ON_THE_PAGE[what]
    assert said(number) == limit.reached

    async def asked(ask: Any, amount: int) -> Any:
        request = limit.request(amount)
        if isinstance(request, RotateApiKeyRequest):
            made = await furnished.api(CreateApiKeyRequest())
            request.api_key = made.api_key.id
        key = "k" * amount if what == "idempotency key" else None
        return await ask(request, idempotency_key=key)

    of_operator = isinstance(limit.request(limit.reached), CreateEnvironmentRequest)
    api: Api = server.operator if of_operator else furnished.api
    await asked(api, limit.reached)
    refusal = await asked(api.refusal, limit.reached + limit.step)

    assert list(refusal.cause) == re.findall(r"`(\w+)`", error)
    assert refusal.fields == ([field.strip("`")] if field else [])
