"""OpenTelemetry traces: of a message, from the call that brings it to each of its attempts.

The acceptance of a message is a span of the caller's trace, and is stored with the message as what
its attempts are children of; so one trace shows them all, hours later and from other servers too.
A message whose trace is not sampled is not traced any further.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from octohooks.v1.attempt_pb2 import ErrorKind

from octohooks_server.errors import OctohooksError
from octohooks_server.store.acceptance import Accepted
from octohooks_server.store.due import Outcome
from octohooks_server.store.outcomes import Recorded

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

log = structlog.get_logger()

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_MOST_SECONDS_FOR_A_STOP = 5.0
_NAME = "octohooks"


def open_traces(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """What traces messages, as OpenTelemetry's own variables say; None unless they name a receiver.

    Variables that cannot be followed are told in the log: a server that traces nothing still
    delivers.
    """
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "grpc")
    if protocol != "grpc":
        log.warning("traces_not_exported", reason=f"OTLP over {protocol} is not spoken, only grpc")
        return None
    try:
        return Traces(_provider(environment))
    except ModuleNotFoundError as error:
        log.warning(
            "traces_not_exported",
            reason=f"the package {error.name} is missing; install octohooks[otel]",
        )
        return None


def _provider(environment: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {"service.version": version("octohooks")}
    named = environment.get("OTEL_SERVICE_NAME") or (
        "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    )
    if not named:
        attributes["service.name"] = _NAME
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Traces:
    """Makes spans and sends them, in a thread of its own."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(_NAME, version("octohooks"))
        self._propagator = TraceContextTextMapPropagator()
        self._kind = trace.SpanKind
        self._error = trace.StatusCode.ERROR

    def begin(self, metadata: Mapping[str, str]) -> AcceptanceTrace:
        """The acceptance of one message; `metadata` may hold the caller's `traceparent`."""
        span = self._tracer.start_span(
            "accept message",
            context=self._propagator.extract(metadata),
            kind=self._kind.SERVER,
        )
        return AcceptanceTrace(span)

    def attempted(
        self, outcomes: Sequence[Outcome], results: Sequence[Recorded | Exception]
    ) -> None:
        """Makes the spans of attempts that were recorded, of messages that are traced."""
        for outcome, recorded in zip(outcomes, results, strict=True):
            if outcome.delivery.trace_parent is not None and isinstance(recorded, Recorded):
                self._attempted(outcome, outcome.delivery.trace_parent)

    async def close(self) -> None:
        """Sends what is left, unless that takes longer than a few seconds."""
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            loop.call_soon_threadsafe(closed.set)

        # A receiver that does not answer must not hold up the end of the process.
        threading.Thread(target=close, daemon=True).start()
        try:
            async with asyncio.timeout(_MOST_SECONDS_FOR_A_STOP):
                await closed.wait()
        except TimeoutError:
            log.warning("traces_not_exported", reason="the receiver of traces does not answer")

    def _attempted(self, outcome: Outcome, trace_parent: str) -> None:
        delivery = outcome.delivery
        # The path and the query of a URL may be secret.
        url = urlsplit(delivery.destination.url)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "url.scheme": url.scheme,
            "server.address": url.hostname or "",
            "octohooks.environment.id": delivery.destination.environment_id,
            "octohooks.application.id": delivery.destination.application_id,
            "octohooks.endpoint.id": delivery.destination.endpoint_id,
            "octohooks.message.id": delivery.message_id,
            "octohooks.event_type": delivery.event_type,
            "octohooks.attempt.number": delivery.attempt_count + 1,
            "octohooks.attempt.trigger": "manual" if delivery.manual else "scheduled",
        }
        if url.port is not None:
            attributes["server.port"] = url.port
        if delivery.attempt_count:
            attributes["http.request.resend_count"] = delivery.attempt_count
        if outcome.response_status:
            attributes["http.response.status_code"] = outcome.response_status
        if not outcome.succeeded:
            kind = ErrorKind.Name(ErrorKind.ValueType(outcome.error_kind))
            attributes["error.type"] = kind.removeprefix("ERROR_KIND_").lower()
        span = self._tracer.start_span(
            "POST",
            context=self._propagator.extract({"traceparent": trace_parent}),
            kind=self._kind.CLIENT,
            attributes=attributes,
            start_time=_nanoseconds(outcome.started_at),
        )
        if not outcome.succeeded:
            span.set_status(self._error, outcome.error_detail)
        span.end(_nanoseconds(outcome.started_at + outcome.duration))


class AcceptanceTrace:
    """The span of one message's acceptance."""

    def __init__(self, span: Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.parent: str | None = None
        """What the message's attempts are children of; None when they are not to be traced."""
        if context.trace_flags.sampled:
            self.parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def end(self, result: Accepted | BaseException) -> None:
        """Ends it with what came of the message."""
        if isinstance(result, Accepted):
            self._span.set_attributes(
                {
                    "octohooks.message.id": result.message.id,
                    "octohooks.application.id": result.message.application,
                    "octohooks.event_type": result.message.event_type,
                    "octohooks.message.is_repetition": result.is_repetition,
                }
            )
        else:
            from opentelemetry.trace import StatusCode

            if isinstance(result, OctohooksError):
                reason = result.reason
            else:
                reason = type(result).__qualname__
            self._span.set_attribute("error.type", reason)
            self._span.set_status(StatusCode.ERROR, reason)
        self._span.end()


def _nanoseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000) * 1_000
