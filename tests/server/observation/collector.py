"""A receiver of OpenTelemetry's traces."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(TraceServiceServicer):
    """Takes spans in by OTLP over gRPC."""

    def __init__(self) -> None:
        self.address = ""
        self.requests: list[ExportTraceServiceRequest] = []
        self._came = asyncio.Condition()

    async def Export(self, request: ExportTraceServiceRequest, _: Any) -> Any:
        """See the service."""
        async with self._came:
            self.requests.append(request)
            self._came.notify_all()
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        """All that came, in the order of their beginnings."""
        came = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(came, key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))

    @property
    def resource(self) -> dict[str, Any]:
        """What the spans say of the server that they come from."""
        return attributes(self.requests[0].resource_spans[0].resource)

    async def wait_for(self, count: int) -> list[Span]:
        """Exactly so many spans, once they have come."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.spans) >= count)
        assert len(self.spans) == count
        return self.spans


def attributes(of: Any) -> dict[str, Any]:
    """The attributes of a span or a resource, as plain values."""
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "", None)
        for one in of.attributes
    }


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on loopback, while the block runs."""
    collector = Collector()
    server = grpc.aio.server()
    # Generated without types.
    add: Any = add_TraceServiceServicer_to_server
    add(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
