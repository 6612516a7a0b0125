"""The gRPC server with all of its services."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from octohooks.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    application_service_pb2,
    application_service_pb2_grpc,
    attempt_service_pb2,
    attempt_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    endpoint_service_pb2,
    endpoint_service_pb2_grpc,
    environment_service_pb2,
    environment_service_pb2_grpc,
    event_type_service_pb2,
    event_type_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    message_service_pb2,
    message_service_pb2_grpc,
    operational_webhook_service_pb2,
    operational_webhook_service_pb2_grpc,
)

from octohooks_server.api.acceptance import Acceptance
from octohooks_server.api.api_key_servicer import ApiKeyServicer
from octohooks_server.api.application_servicer import ApplicationServicer
from octohooks_server.api.attempt_servicer import AttemptServicer
from octohooks_server.api.audit_servicer import AuditServicer
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.calls_under_way import CallsUnderWay
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.endpoint_changes import EndpointChanges
from octohooks_server.api.endpoint_servicer import EndpointServicer
from octohooks_server.api.environment_servicer import EnvironmentServicer
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.event_type_servicer import EventTypeServicer
from octohooks_server.api.gate import CallEnded, Gate, tell_nobody
from octohooks_server.api.generic_handlers import GenericHandlers
from octohooks_server.api.gone_peers import keep_quiet_about_gone_peers
from octohooks_server.api.health_servicer import HealthServicer
from octohooks_server.api.job_servicer import JobServicer
from octohooks_server.api.message_servicer import MessageServicer
from octohooks_server.api.operational_webhook_servicer import OperationalWebhookServicer
from octohooks_server.api.reflection import add_reflection
from octohooks_server.api.request_limits import RequestLimits
from octohooks_server.api.seals import Seals
from octohooks_server.api.watch import Watches
from octohooks_server.api.watch_tokens import WatchTokens
from octohooks_server.rules.addresses import Subnet

_SERVICES = tuple(
    service
    for module in (
        environment_service_pb2,
        api_key_service_pb2,
        application_service_pb2,
        endpoint_service_pb2,
        event_type_service_pb2,
        message_service_pb2,
        attempt_service_pb2,
        operational_webhook_service_pb2,
        job_service_pb2,
        audit_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
# gRPC's own name for the options of a channel or a server.
ChannelArguments = Sequence[tuple[str, Any]]

# How long a stop waits at least for readers of watches to take what they are sent last.
_SECONDS_FOR_A_LAST_BOOKMARK = 2.0


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A gRPC server that is not started yet, and what its owner needs of it."""

    grpc_server: grpc.aio.Server
    health: HealthServicer
    # The full names of the services whose health is told.
    service_names: Sequence[str]
    calls: CallsUnderWay
    watches: Watches

    async def stop(self, grace: timedelta) -> None:
        """Takes on no calls, and returns when those under way have ended or the grace is over.

        Watches that nobody reads cannot end by themselves, and are not waited for.
        """
        stopping = asyncio.create_task(self.grpc_server.stop(grace.total_seconds()))
        await asyncio.wait([stopping], timeout=_SECONDS_FOR_A_LAST_BOOKMARK)
        while not stopping.done():
            # Asked for before the look, so that no end can fall between the look and the wait.
            next_end = asyncio.create_task(self.calls.next_end().wait())
            if 0 < self.watches.open == self.calls.count:
                await self.grpc_server.stop(0)
            await asyncio.wait([stopping, next_end], return_when=asyncio.FIRST_COMPLETED)
            next_end.cancel()
        await stopping


def build_server(
    dependencies: Dependencies,
    *,
    authenticator: Authenticator,
    wall: Callable[[], datetime],
    acceptance: Acceptance,
    allowed_subnets: tuple[Subnet, ...],
    seals: Seals,
    max_watches_per_environment: int,
    max_watches_per_key: int,
    max_requests_per_second: int,
    with_reflection: bool,
    options: ChannelArguments,
    takes_calls: bool = True,
    call_ended: CallEnded = tell_nobody,
) -> ApiServer:
    """The server with every service added, or with health alone unless it `takes_calls`.

    `wall` decides whether a key has expired; `options` says what connections may do. `call_ended`
    is told of every call. Of the limits for a key that has none of its own, 0 means no limit.
    """
    calls = CallsUnderWay()
    watches = Watches(
        dependencies,
        authenticator,
        WatchTokens(seals),
        max_per_environment=max_watches_per_environment,
        max_per_key=max_watches_per_key,
    )
    keep_quiet_about_gone_peers()
    server = grpc.aio.server(options=options)
    gate = Gate(
        server,
        authenticator=authenticator,
        database=dependencies.database,
        limits=RequestLimits(max_requests_per_second, seconds=monotonic),
        calls=calls,
        call_ended=call_ended,
    )
    service_names: Sequence[str] = ()
    if takes_calls:
        changes = EndpointChanges(dependencies, allowed_subnets)
        key_limits = {
            "max_requests_per_second": max_requests_per_second,
            "max_watches": max_watches_per_key,
        }
        service_names = _add_services(
            gate, dependencies, authenticator, wall, acceptance, changes, watches, key_limits
        )
    health = HealthServicer(dependencies.stopping)
    handlers: Any = GenericHandlers(server)
    health_pb2_grpc.add_HealthServicer_to_server(health, handlers)
    if with_reflection:
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        add_reflection(server, [*service_names, health_name], dependencies.stopping)
    return ApiServer(server, health, service_names, calls, watches)


def _add_services(
    gate: Gate,
    dependencies: Dependencies,
    authenticator: Authenticator,
    wall: Callable[[], datetime],
    acceptance: Acceptance,
    changes: EndpointChanges,
    watches: Watches,
    key_limits: Mapping[str, int],
) -> Sequence[str]:
    """Adds every service of the product behind the gate; answers their full names."""
    # Generated code takes whatever handlers can be added to.
    server: Any = gate
    event_type_rules = EventTypeRules(dependencies)
    environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server(
        EnvironmentServicer(dependencies, authenticator, event_type_rules.forget), server
    )
    api_key_service_pb2_grpc.add_ApiKeyServiceServicer_to_server(
        ApiKeyServicer(
            dependencies,
            authenticator,
            wall,
            default_limits=key_limits,
        ),
        server,
    )
    application_service_pb2_grpc.add_ApplicationServiceServicer_to_server(
        ApplicationServicer(dependencies, authenticator), server
    )
    endpoint_service_pb2_grpc.add_EndpointServiceServicer_to_server(
        EndpointServicer(dependencies, changes, acceptance), server
    )
    event_type_service_pb2_grpc.add_EventTypeServiceServicer_to_server(
        EventTypeServicer(dependencies, event_type_rules), server
    )
    message_service_pb2_grpc.add_MessageServiceServicer_to_server(
        MessageServicer(dependencies, acceptance, authenticator, event_type_rules), server
    )
    attempt_service_pb2_grpc.add_AttemptServiceServicer_to_server(
        AttemptServicer(dependencies, watches), server
    )
    operational_webhook_service_pb2_grpc.add_OperationalWebhookServiceServicer_to_server(
        OperationalWebhookServicer(dependencies, changes), server
    )
    job_service_pb2_grpc.add_JobServiceServicer_to_server(JobServicer(dependencies), server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(
        AuditServicer(dependencies, [method.name for one in _SERVICES for method in one.methods]),
        server,
    )
    return [service.full_name for service in _SERVICES]
