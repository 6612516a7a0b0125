"""MessageService."""

from collections.abc import AsyncIterator, Sequence

from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    BatchCreateMessagesResponse,
    CreateMessageRequest,
    CreateMessageResponse,
    CreateMessageResult,
    DeleteMessagePayloadRequest,
    DeleteMessagePayloadResponse,
    ExplainMessageRequest,
    ExplainMessageResponse,
    GetMessageRequest,
    GetMessageResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    PublishMessagesRequest,
    PublishMessagesResponse,
)
from octohooks.v1.message_service_pb2_grpc import MessageServiceServicer
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.acceptance import Acceptance, AcceptDrafts
from octohooks_server.api.audit import AuditLog
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import current_call, current_caller, environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.api.message_drafts import MessageDrafts
from octohooks_server.api.message_filters import message_filter
from octohooks_server.api.publishing import publish
from octohooks_server.api.request_limits import MAX_BATCH
from octohooks_server.api.status import failure_of
from octohooks_server.errors import OctohooksError
from octohooks_server.store import applications, explanations, messages, payloads
from octohooks_server.store.acceptance import Accepted, Draft

_MAX_IDEMPOTENCY_KEY = 256


class MessageServicer(MessageServiceServicer):
    """Accepts and shows the messages of the caller's environment."""

    def __init__(
        self,
        dependencies: Dependencies,
        acceptance: Acceptance,
        authenticator: Authenticator,
        event_type_rules: EventTypeRules,
    ) -> None:
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._clock = dependencies.clock
        self._feed = dependencies.feed
        self._recall = dependencies.recall
        self._stopping = dependencies.stopping
        self._acceptance = acceptance
        self._authenticator = authenticator
        self._audit = AuditLog(dependencies)
        self._drafts = MessageDrafts(dependencies, event_type_rules)

    async def CreateMessage(
        self, request: CreateMessageRequest, context: Context
    ) -> CreateMessageResponse:
        environment_of_caller()
        draft = await self._drafts.draft(request, idempotency_key=current_call().idempotency_key)
        accepted = await self._acceptance.accept_one(draft)
        return CreateMessageResponse(message=accepted.message)

    async def BatchCreateMessages(
        self, request: BatchCreateMessagesRequest, context: Context
    ) -> BatchCreateMessagesResponse:
        environment_of_caller()
        checks = Checks()
        if not 1 <= len(request.requests) <= MAX_BATCH:
            checks.problem(
                "requests",
                f"A batch holds 1 to {MAX_BATCH} messages, not {len(request.requests)}.",
            )
        checks.done()
        sent = request
        if current_call().idempotency_key is not None:
            # What is compared under it is the request as it came.
            sent = BatchCreateMessagesRequest()
            sent.CopyFrom(request)
        # Before the transaction: it may read, for which it would want a second connection.
        drafts = [await self._draft_or_failure(one) for one in request.requests]

        async def store(conn: AsyncConnection, accept: AcceptDrafts) -> BatchCreateMessagesResponse:
            async def make() -> BatchCreateMessagesResponse:
                return await _accept_each(conn, accept, drafts)

            return await once(
                conn,
                sent,
                make,
                BatchCreateMessagesResponse,
                now=self._clock(),
            )

        return await self._acceptance.in_transaction(self._database, store)

    def PublishMessages(
        self, request_iterator: AsyncIterator[PublishMessagesRequest], context: Context
    ) -> AsyncIterator[PublishMessagesResponse]:
        environment_of_caller()
        requests = self._while_key_works(request_iterator)
        return publish(requests, self._publish_one, self._stopping)

    async def GetMessage(self, request: GetMessageRequest, context: Context) -> GetMessageResponse:
        environment_id = environment_of_caller()
        _check_references(request.application, request.message)
        async with self._database.read() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            message = await messages.get(
                conn, application_id=application_id, reference=request.message, with_payload=True
            )
        return GetMessageResponse(message=message)

    async def ListMessages(
        self, request: ListMessagesRequest, context: Context
    ) -> ListMessagesResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        limit = checks.page_size(request.page_size)
        matching = message_filter(checks, request)
        checks.done()
        before = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            page = await messages.list_page(
                conn, application_id=application_id, matching=matching, before=before, limit=limit
            )
        return ListMessagesResponse(
            messages=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def DeleteMessagePayload(
        self, request: DeleteMessagePayloadRequest, context: Context
    ) -> DeleteMessagePayloadResponse:
        environment_id = environment_of_caller()
        _check_references(request.application, request.message)
        async with self._database.write() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            message = await messages.get(
                conn, application_id=application_id, reference=request.message
            )
            endpoint_ids = await payloads.delete_on_request(
                conn, environment_id=environment_id, message_id=message.id, now=self._clock()
            )
            message = await messages.get(conn, application_id=application_id, reference=message.id)
            await self._audit.record(conn, "message", message.id, application_id=application_id)
        # What waits in memory still holds the payload.
        self._recall(endpoint_ids)
        self._feed.announce([environment_id])
        return DeleteMessagePayloadResponse(message=message)

    async def ExplainMessage(
        self, request: ExplainMessageRequest, context: Context
    ) -> ExplainMessageResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        checks.reference("message", request.message)
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            page = await explanations.list_page(
                conn,
                application_id=application_id,
                message=request.message,
                after=after,
                limit=limit,
            )
        return ExplainMessageResponse(
            explanations=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def _while_key_works(
        self, requests: AsyncIterator[PublishMessagesRequest]
    ) -> AsyncIterator[PublishMessagesRequest]:
        """The requests of a stream; Unauthenticated once its key was revoked or has expired."""
        caller = current_caller()
        check = self._authenticator.periodic_check(caller)
        async for request in requests:
            await check()
            yield request

    async def _publish_one(self, request: PublishMessagesRequest) -> PublishMessagesResponse:
        response = PublishMessagesResponse()
        try:
            checks = Checks()
            checks.text("idempotency_key", request.idempotency_key, most=_MAX_IDEMPOTENCY_KEY)
            checks.done()
            draft = await self._drafts.draft(
                request.message, idempotency_key=request.idempotency_key or None
            )
            _tell(response.result, await self._acceptance.accept_one(draft))
        except OctohooksError as error:
            _tell(response.result, error)
        return response

    async def _draft_or_failure(self, request: CreateMessageRequest) -> Draft | OctohooksError:
        try:
            return await self._drafts.draft(request, idempotency_key=None)
        except OctohooksError as error:
            return error


async def _accept_each(
    conn: AsyncConnection, accept: AcceptDrafts, drafts: Sequence[Draft | OctohooksError]
) -> BatchCreateMessagesResponse:
    """Accepts those that can be, together; the results are in the order of the requests."""
    good = [draft for draft in drafts if isinstance(draft, Draft)]
    accepted = iter(await accept(conn, good) if good else [])
    response = BatchCreateMessagesResponse()
    for draft in drafts:
        result = next(accepted) if isinstance(draft, Draft) else draft
        _tell(response.results.add(), result)
    return response


def _tell(result: CreateMessageResult, accepted: Accepted | OctohooksError) -> None:
    """Writes what came of a message into the place that is kept for it in a response."""
    if isinstance(accepted, OctohooksError):
        result.failure.CopyFrom(failure_of(accepted))
    else:
        result.message.CopyFrom(accepted.message)


def _check_references(application: str, message: str) -> None:
    checks = Checks()
    checks.reference("application", application)
    checks.reference("message", message)
    checks.done()
