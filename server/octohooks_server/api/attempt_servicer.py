"""AttemptService, but for the watch."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import cast

from octohooks.v1.attempt_service_pb2 import (
    GetAttemptRequest,
    GetAttemptResponse,
    GetDeliveryRequest,
    GetDeliveryResponse,
    ListAttemptsRequest,
    ListAttemptsResponse,
    ListDeliveriesRequest,
    ListDeliveriesResponse,
    ResendDeliveryRequest,
    ResendDeliveryResponse,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceServicer
from octohooks.v1.delivery_pb2 import Delivery
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.audit import AuditLog
from octohooks_server.api.caller import (
    current_caller,
    environment_of_caller,
    require_own_application,
)
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.endpoint_sending import require_enabled
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.api.message_filters import MAX_EVENT_TYPES, message_filter, resolve_scope
from octohooks_server.api.watch import Start, Watches
from octohooks_server.errors import FailedPrecondition
from octohooks_server.store import attempts, deliveries, endpoints, messages
from octohooks_server.store.attempts import EventFilter


class AttemptServicer(AttemptServiceServicer):
    """Shows what became of the messages of the caller's environment."""

    def __init__(self, dependencies: Dependencies, watches: Watches) -> None:
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._clock = dependencies.clock
        self._look_for_due = dependencies.look_for_due
        self._watches = watches
        self._audit = AuditLog(dependencies)

    async def ListDeliveries(
        self, request: ListDeliveriesRequest, context: Context
    ) -> ListDeliveriesResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.known_values("statuses", request.statuses)
        matching = message_filter(checks, request)
        checks.done()
        before = self._tokens.open(list, request, environment_id)
        async with self._database.read() as conn:
            scope = await resolve_scope(conn, environment_id, request)
            page = await deliveries.list_page(
                conn,
                scope=scope,
                statuses=request.statuses,
                matching=matching,
                before=before,
                limit=limit,
            )
        return ListDeliveriesResponse(
            deliveries=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def GetDelivery(
        self, request: GetDeliveryRequest, context: Context
    ) -> GetDeliveryResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("message", request.message)
        checks.reference("endpoint", request.endpoint)
        checks.done()
        async with self._database.read() as conn:
            scope = await resolve_scope(conn, environment_id, request)
            delivery = await deliveries.get(
                conn,
                environment_id=environment_id,
                message_id=scope.message_id or "",
                endpoint_id=scope.endpoint_id or "",
            )
        return GetDeliveryResponse(delivery=delivery)

    async def ListAttempts(
        self, request: ListAttemptsRequest, context: Context
    ) -> ListAttemptsResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.known_values("outcomes", request.outcomes)
        matching = message_filter(checks, request)
        checks.done()
        before = self._tokens.open(int, request, environment_id)
        async with self._database.read() as conn:
            scope = await resolve_scope(conn, environment_id, request)
            page = await attempts.list_page(
                conn,
                scope=scope,
                outcomes=request.outcomes,
                matching=matching,
                before=before,
                limit=limit,
            )
        return ListAttemptsResponse(
            attempts=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def GetAttempt(self, request: GetAttemptRequest, context: Context) -> GetAttemptResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("attempt", request.attempt)
        checks.done()
        async with self._database.read() as conn:
            attempt = await attempts.get(conn, environment_id=environment_id, id=request.attempt)
        require_own_application(attempt.application, "attempt", request.attempt)
        return GetAttemptResponse(attempt=attempt)

    async def ResendDelivery(
        self, request: ResendDeliveryRequest, context: Context
    ) -> ResendDeliveryResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("message", request.message)
        checks.reference("endpoint", request.endpoint)
        checks.done()
        now = self._clock()
        async with self._database.write() as conn:

            async def make() -> ResendDeliveryResponse:
                delivery = await _request_attempt(conn, environment_id, request, now)
                await self._audit.record(
                    conn,
                    "delivery",
                    f"{delivery.message}/{delivery.endpoint}",
                    application_id=delivery.application,
                )
                return ResendDeliveryResponse(delivery=delivery)

            response = await once(conn, request, make, ResendDeliveryResponse, now=now)
        self._look_for_due()
        return response

    async def WatchAttempts(
        self, request: WatchAttemptsRequest, context: Context
    ) -> AsyncIterator[WatchAttemptsResponse]:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.event_types("event_types", request.event_types, most=MAX_EVENT_TYPES)
        checks.known_values("kinds", request.kinds)
        since = checks.time("since", request, "since")
        if request.WhichOneof("start") == "resume_token":
            checks.required("resume_token", request.resume_token)
        checks.done()
        async with self._database.read() as conn:
            scope = await resolve_scope(conn, environment_id, request)
        matching = EventFilter(scope, frozenset(request.event_types), frozenset(request.kinds))
        start = Start(request.resume_token, since)
        async for response in self._watches.watch(current_caller(), matching, start):
            # The gate takes either.
            yield cast(WatchAttemptsResponse, response)


async def _request_attempt(
    conn: AsyncConnection, environment_id: str, request: ResendDeliveryRequest, now: datetime
) -> Delivery:
    """Makes an attempt due at once, where one can be made."""
    scope = await resolve_scope(conn, environment_id, request)
    key = {
        "environment_id": environment_id,
        "message_id": scope.message_id or "",
        "endpoint_id": scope.endpoint_id or "",
    }
    delivery = await deliveries.get(conn, **key)
    require_enabled(
        await endpoints.get(conn, application_id=delivery.application, reference=delivery.endpoint)
    )
    message = await messages.get(
        conn, application_id=delivery.application, reference=delivery.message
    )
    if message.payload_deleted:
        raise FailedPrecondition(
            "The message's payload has been deleted.", reason="PAYLOAD_DELETED"
        )
    await deliveries.request_attempt(conn, **key, now=now)
    return await deliveries.get(conn, **key)
