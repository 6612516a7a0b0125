"""The part of EndpointService that is about what endpoints got, get again, or get as a trial."""

from collections.abc import Collection
from datetime import timedelta
from typing import TypeVar

from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    GetEndpointStatsRequest,
    GetEndpointStatsResponse,
    RecoverEndpointRequest,
    RecoverEndpointResponse,
    ReplayEndpointRequest,
    ReplayEndpointResponse,
    SendExampleRequest,
    SendExampleResponse,
)
from octohooks.v1.endpoint_service_pb2_grpc import EndpointServiceServicer
from octohooks.v1.job_pb2 import JobKind
from octohooks.v1.message_pb2 import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.acceptance import Acceptance, AcceptDrafts
from octohooks_server.api.audit import AuditLog
from octohooks_server.api.caller import environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.errors import FailedPrecondition, OctohooksError
from octohooks_server.rules.ids import JOB, MESSAGE
from octohooks_server.store import applications, endpoints, event_types, jobs, stats
from octohooks_server.store.acceptance import Draft
from octohooks_server.store.jobs import JobRequest

_STATS_RANGE = timedelta(hours=24)

R = TypeVar("R", RecoverEndpointResponse, ReplayEndpointResponse)


def references(application: str, endpoint: str) -> Checks:
    """The checks of a request that names an endpoint, to go on with."""
    checks = Checks()
    checks.reference("application", application)
    checks.reference("endpoint", endpoint)
    return checks


def check_references(application: str, endpoint: str) -> None:
    """The checks of a request that names an endpoint and nothing else."""
    references(application, endpoint).done()


def require_enabled(endpoint: Endpoint) -> None:
    """FailedPrecondition when nothing can be sent to the endpoint."""
    if endpoint.disabled:
        raise FailedPrecondition(
            "The endpoint is disabled; enable it first.", reason="ENDPOINT_DISABLED"
        )


class EndpointSending(EndpointServiceServicer):
    """Statistics, recovery, replay and examples."""

    def __init__(self, dependencies: Dependencies, acceptance: Acceptance) -> None:
        self._database = dependencies.database
        self._ids = dependencies.ids
        self._clock = dependencies.clock
        self._wake_background = dependencies.wake_background
        self._acceptance = acceptance
        self._audit = AuditLog(dependencies)

    async def GetEndpointStats(
        self, request: GetEndpointStatsRequest, context: Context
    ) -> GetEndpointStatsResponse:
        environment_id = environment_of_caller()
        checks = references(request.application, request.endpoint)
        now = self._clock()
        # What came just now may bear the time of another server, whose clock is a little ahead.
        before = checks.time("before", request, "before")
        after = checks.time("after", request, "after") or now - _STATS_RANGE
        checks.range("before", after, before or now)
        checks.done()
        async with self._database.read() as conn:
            endpoint = await get_endpoint(
                conn, environment_id, request.application, request.endpoint
            )
            return await stats.of_endpoint(
                conn, endpoint_id=endpoint.id, after=after, before=before
            )

    async def RecoverEndpoint(
        self, request: RecoverEndpointRequest, context: Context
    ) -> RecoverEndpointResponse:
        return await self._begin(request, JobKind.JOB_KIND_RECOVER, RecoverEndpointResponse)

    async def ReplayEndpoint(
        self, request: ReplayEndpointRequest, context: Context
    ) -> ReplayEndpointResponse:
        return await self._begin(request, JobKind.JOB_KIND_REPLAY, ReplayEndpointResponse)

    async def SendExample(
        self, request: SendExampleRequest, context: Context
    ) -> SendExampleResponse:
        environment_id = environment_of_caller()
        checks = references(request.application, request.endpoint)
        checks.event_type("event_type", request.event_type)
        checks.done()

        async def store(conn: AsyncConnection, accept: AcceptDrafts) -> SendExampleResponse:
            async def make() -> SendExampleResponse:
                endpoint = await get_endpoint(
                    conn, environment_id, request.application, request.endpoint
                )
                event_type = await event_types.get(
                    conn, environment_id=environment_id, name=request.event_type
                )
                require_enabled(endpoint)
                if not event_type.examples:
                    raise FailedPrecondition(
                        f"The event type {event_type.name} has no example.", reason="NO_EXAMPLE"
                    )
                draft = Draft(
                    environment_id=environment_id,
                    application=endpoint.application,
                    message=Message(
                        id=self._ids.new(MESSAGE),
                        event_type=event_type.name,
                        payload=event_type.examples[0].encode(),
                    ),
                    addressed_to=endpoint.id,
                )
                (accepted,) = await accept(conn, [draft])
                if isinstance(accepted, OctohooksError):
                    raise accepted
                await self._record(conn, endpoint)
                return SendExampleResponse(message=accepted.message)

            return await once(conn, request, make, SendExampleResponse, now=self._clock())

        return await self._acceptance.in_transaction(self._database, store)

    async def _record(
        self, conn: AsyncConnection, endpoint: Endpoint, changed: Collection[str] = ()
    ) -> None:
        """Writes into the audit log that the call was about this endpoint."""
        await self._audit.record(
            conn, "endpoint", endpoint.id, application_id=endpoint.application, changed=changed
        )

    async def _begin(
        self,
        request: RecoverEndpointRequest | ReplayEndpointRequest,
        kind: JobKind.ValueType,
        response_type: type[R],
    ) -> R:
        environment_id = environment_of_caller()
        checks = references(request.application, request.endpoint)
        now = self._clock()
        checks.required("since", request.HasField("since"))
        since = checks.time("since", request, "since")
        until = checks.time("until", request, "until") or now
        if since is not None and since >= now:
            checks.problem("since", "The time does not lie in the past.")
        else:
            checks.range("until", since, until)
        checks.done()
        assert since is not None
        async with self._database.write() as conn:

            async def make() -> R:
                endpoint = await get_endpoint(
                    conn, environment_id, request.application, request.endpoint
                )
                require_enabled(endpoint)
                job = await jobs.create(
                    conn,
                    id=self._ids.new(JOB),
                    request=JobRequest(
                        environment_id=environment_id,
                        application_id=endpoint.application,
                        endpoint_id=endpoint.id,
                        kind=kind,
                        since=since,
                        until=until,
                    ),
                    now=now,
                )
                await self._record(conn, endpoint)
                return response_type(job=job)

            response = await once(conn, request, make, response_type, now=now)
        self._wake_background()
        return response


async def get_endpoint(
    conn: AsyncConnection,
    environment_id: str,
    application: str,
    endpoint: str,
    *,
    for_update: bool = False,
) -> Endpoint:
    """The endpoint behind the references of a request, or NotFound for either of them."""
    application_id = await applications.get_id(
        conn, environment_id=environment_id, reference=application
    )
    return await endpoints.get(
        conn, application_id=application_id, reference=endpoint, for_update=for_update
    )
