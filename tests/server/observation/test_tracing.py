"""Traces go from the caller through the acceptance of a message to each of its attempts."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    PublishMessagesRequest,
)
from octohooks_server.observation.tracing import open_traces
from octohooks_server.store.tables import messages
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.receivers import Receiver, respond
from tests.server.api.calls import Metadata
from tests.server.api.deliveries import ended
from tests.server.api.home import Home
from tests.server.api.rpcs import BY_REQUEST_TYPE
from tests.server.api.serving import Clock, Server, Tenant, serving
from tests.server.observation.collector import Collector, attributes, collecting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

NAMES = ("accept message", "POST")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACED: Metadata = (("traceparent", f"00-{TRACE}-{CALLER}-01"),)
NOT_SAMPLED: Metadata = (("traceparent", f"00-{TRACE}-{CALLER}-00"),)
PAYLOAD = b'{"card":"4111-1111"}'


@pytest_asyncio.fixture(loop_scope="session")
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that servers started from now on send their traces to at once."""
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
        yield collector


def create(payload: bytes = PAYLOAD) -> CreateMessageRequest:
    return CreateMessageRequest(
        application="acme", message=Message(event_type="card.added", payload=payload)
    )


async def send(tenant: Tenant, request: Any, metadata: Metadata) -> Any:
    """The answer to a call with this metadata."""
    rpc = BY_REQUEST_TYPE[type(request)]
    (answer,) = await tenant.api.exchange(rpc, [request.SerializeToString()], metadata)
    return answer


@asynccontextmanager
async def a_tenant(server: Server, receiver: Receiver) -> AsyncIterator[Tenant]:
    """An environment with one endpoint, which gets two attempts."""
    tenant = await server.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    await tenant.octohooks.endpoint.create(
        "acme", url=f"{receiver.url}/T024/XYZ?token=abc", uid="main", retry_schedule=[0, 0]
    )
    yield tenant


async def test_a_trace_holds_the_acceptance_and_every_attempt(
    home: Home, collector: Collector
) -> None:
    async with (
        Receiver(respond(500), respond()) as receiver,
        serving(home) as server,
        a_tenant(server, receiver) as tenant,
    ):
        accepted = (await send(tenant, create(), TRACED)).message
        spans = await collector.wait_for(3)
        by_name = {name: [one for one in spans if one.name == name] for name in NAMES}
        (acceptance,) = by_name["accept message"]
        failed, succeeded = by_name["POST"]
        for span in spans:
            assert span.trace_id.hex() == TRACE
        assert acceptance.parent_span_id.hex() == CALLER
        assert acceptance.kind == Span.SPAN_KIND_SERVER
        assert attributes(acceptance)["octohooks.message.id"] == accepted.id
        for number, attempt in enumerate((failed, succeeded), start=1):
            assert attempt.parent_span_id == acceptance.span_id
            assert attempt.kind == Span.SPAN_KIND_CLIENT
            assert attempt.end_time_unix_nano >= attempt.start_time_unix_nano
            told = attributes(attempt)
            assert told["octohooks.message.id"] == accepted.id
            assert told["octohooks.attempt.number"] == number
            assert told["server.address"] == "127.0.0.1"
            assert told["server.port"] == receiver.port
        assert failed.status.code == Status.STATUS_CODE_ERROR
        assert attributes(failed)["http.response.status_code"] == 500
        assert attributes(failed)["error.type"] == "http_status"
        assert succeeded.status.code == Status.STATUS_CODE_UNSET
        assert attributes(succeeded)["http.response.status_code"] == 200
    assert collector.resource["service.name"] == "octohooks"
    everything = b"".join(one.SerializeToString() for one in collector.requests)
    for secret in (b"4111", b"T024", b"token", b"abc", b"whsec_"):
        assert secret not in everything, secret


async def test_an_attempt_by_another_server_hours_later_belongs_to_the_same_trace(
    home: Home, collector: Collector
) -> None:
    clock = Clock()
    key = "k" * 40
    async with Receiver() as receiver:
        async with serving(home, clock=clock, operator_key=key) as server:
            tenant = await server.new_tenant(retry_schedule=None)
            await tenant.octohooks.application.create(uid="acme")
            await tenant.octohooks.endpoint.create(
                "acme", url=receiver.url, retry_schedule=[4 * 3600]
            )
            await send(tenant, create(), TRACED)
        (acceptance,) = await collector.wait_for(1)
        clock.advance(hours=5)
        async with serving(home, clock=clock, operator_key=key):
            await receiver.next_request()
        _, attempt = await collector.wait_for(2)
    assert attempt.trace_id.hex() == TRACE
    assert attempt.parent_span_id == acceptance.span_id


async def test_each_message_of_a_batch_and_of_a_stream_has_its_own_span(
    home: Home, collector: Collector, receiver: Receiver
) -> None:
    async with serving(home) as server, a_tenant(server, receiver) as tenant:
        await send(tenant, BatchCreateMessagesRequest(requests=[create(), create()]), TRACED)
        await send(tenant, PublishMessagesRequest(message=create()), TRACED)
        spans = await collector.wait_for(6)
    acceptances = [one for one in spans if one.name == "accept message"]
    assert {one.parent_span_id.hex() for one in acceptances} == {CALLER}
    parents = [one.parent_span_id for one in spans if one.name == "POST"]
    assert sorted(parents) == sorted(one.span_id for one in acceptances)


async def test_a_message_that_is_refused_says_so_in_its_span(
    home: Home, collector: Collector
) -> None:
    async with serving(home) as server:
        tenant = await server.new_tenant()
        await tenant.api.refusal_of_bytes(
            BY_REQUEST_TYPE[CreateMessageRequest], create().SerializeToString(), TRACED
        )
        (acceptance,) = await collector.wait_for(1)
    assert acceptance.status.code == Status.STATUS_CODE_ERROR
    assert attributes(acceptance)["error.type"] == "NOT_FOUND"


async def test_what_the_caller_does_not_sample_is_not_traced_at_all(
    home: Home, collector: Collector, receiver: Receiver
) -> None:
    async with serving(home) as server, a_tenant(server, receiver) as tenant:
        await send(tenant, create(), NOT_SAMPLED)
        await ended(tenant.octohooks, 1)
        async with server.database.read() as conn:
            assert (await conn.scalars(select(messages.c.trace_parent))).all() == [None]
    assert collector.requests == []


async def test_a_caller_without_a_trace_gets_one(
    home: Home, collector: Collector, receiver: Receiver
) -> None:
    async with serving(home) as server, a_tenant(server, receiver) as tenant:
        await send(tenant, create(), (("traceparent", "nonsense"),))
        acceptance, attempt = await collector.wait_for(2)
    assert not acceptance.parent_span_id
    assert attempt.parent_span_id == acceptance.span_id


async def test_receivers_are_not_told_of_the_trace(
    home: Home, collector: Collector, receiver: Receiver
) -> None:
    async with serving(home) as server, a_tenant(server, receiver) as tenant:
        await send(tenant, create(), TRACED)
        request = await receiver.next_request()
    assert not {name.lower() for name, _ in request.headers} & {"traceparent", "tracestate"}


async def test_without_the_variables_nothing_is_stored_of_a_trace(
    home: Home, receiver: Receiver
) -> None:
    async with serving(home) as server, a_tenant(server, receiver) as tenant:
        await send(tenant, create(), TRACED)
        async with server.database.read() as conn:
            assert (await conn.scalars(select(messages.c.trace_parent))).all() == [None]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_TRACES_EXPORTER": "none"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        },
    ],
)
async def test_traces_are_off_where_the_variables_do_not_ask_for_what_is_spoken(
    variables: dict[str, str],
) -> None:
    assert open_traces(variables) is None


async def test_a_server_without_the_packages_for_traces_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"
    monkeypatch.setitem(sys.modules, missing, None)
    with capture_logs() as logged:
        assert open_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}) is None
    (line,) = logged
    assert line["event"] == "traces_not_exported"
    assert "octohooks[otel]" in line["reason"]
