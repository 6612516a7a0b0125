"""EventTypeService."""

import asyncio

from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import (
    ArchiveEventTypeRequest,
    ArchiveEventTypeResponse,
    CreateEventTypeRequest,
    CreateEventTypeResponse,
    DeleteEventTypeRequest,
    DeleteEventTypeResponse,
    GetEventTypeRequest,
    GetEventTypeResponse,
    ImportOpenApiRequest,
    ImportOpenApiResponse,
    ListEventTypesRequest,
    ListEventTypesResponse,
    UpdateEventTypeRequest,
    UpdateEventTypeResponse,
)
from octohooks.v1.event_type_service_pb2_grpc import EventTypeServiceServicer

from octohooks_server.api.caller import current_caller, environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_type_checks import check_event_type
from octohooks_server.api.event_type_import import plan_import, read_event_types
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.store import event_types

_CHANGEABLE = ("description", "schema", "examples", "archived", "metadata")
_OUTPUT_ONLY = ("create_time", "update_time")
_MOST_BYTES_OF_A_PAGE = 2 * 1024 * 1024


class EventTypeServicer(EventTypeServiceServicer):
    """Manages the event types of the caller's environment."""

    def __init__(self, dependencies: Dependencies, rules: EventTypeRules) -> None:
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._clock = dependencies.clock
        self._rules = rules

    async def CreateEventType(
        self, request: CreateEventTypeRequest, context: Context
    ) -> CreateEventTypeResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.output_only("event_type", request.event_type, _OUTPUT_ONLY)
        checks.event_type("event_type.name", request.event_type.name)
        check_event_type(checks, "event_type", request.event_type)
        checks.done()
        now = self._clock()

        async with self._database.write() as conn:

            async def make() -> CreateEventTypeResponse:
                made = await event_types.create(
                    conn, environment_id=environment_id, event_type=request.event_type, now=now
                )
                return CreateEventTypeResponse(event_type=made)

            response = await once(
                conn, current_caller(), request, make, CreateEventTypeResponse, now=now
            )
        self._rules.forget(environment_id)
        return response

    async def GetEventType(
        self, request: GetEventTypeRequest, context: Context
    ) -> GetEventTypeResponse:
        environment_id = environment_of_caller()
        _check_reference(request.event_type)
        async with self._database.read() as conn:
            event_type = await event_types.get(
                conn, environment_id=environment_id, name=request.event_type
            )
        return GetEventTypeResponse(event_type=event_type)

    async def ListEventTypes(
        self, request: ListEventTypesRequest, context: Context
    ) -> ListEventTypesResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            page = await event_types.list_page(
                conn,
                environment_id=environment_id,
                include_archived=request.include_archived,
                after=after,
                limit=limit,
                most_bytes=_MOST_BYTES_OF_A_PAGE,
            )
        return ListEventTypesResponse(
            event_types=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def UpdateEventType(
        self, request: UpdateEventTypeRequest, context: Context
    ) -> UpdateEventTypeResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("event_type", request.event_type)
        checks.done()
        now = self._clock()
        async with self._database.write() as conn:
            find = event_types.find if request.allow_missing else event_types.get
            current = await find(conn, environment_id=environment_id, name=request.event_type)
            store = event_types.store_update
            if current is None:
                checks.event_type("event_type", request.event_type)
                current = EventType(name=request.event_type)
                store = event_types.create
            new = updated(current, request.values, request.update_mask, changeable=_CHANGEABLE)
            check_event_type(checks, "values", new)
            checks.done()
            stored = await store(conn, environment_id=environment_id, event_type=new, now=now)
        self._rules.forget(environment_id)
        return UpdateEventTypeResponse(event_type=stored)

    async def ArchiveEventType(
        self, request: ArchiveEventTypeRequest, context: Context
    ) -> ArchiveEventTypeResponse:
        environment_id = environment_of_caller()
        _check_reference(request.event_type)
        name = request.event_type
        async with self._database.write() as conn:
            await event_types.archive(
                conn, environment_id=environment_id, name=name, now=self._clock()
            )
            archived = await event_types.get(conn, environment_id=environment_id, name=name)
        self._rules.forget(environment_id)
        return ArchiveEventTypeResponse(event_type=archived)

    async def DeleteEventType(
        self, request: DeleteEventTypeRequest, context: Context
    ) -> DeleteEventTypeResponse:
        environment_id = environment_of_caller()
        _check_reference(request.event_type)
        async with self._database.write() as conn:
            await event_types.remove(conn, environment_id=environment_id, name=request.event_type)
        self._rules.forget(environment_id)
        return DeleteEventTypeResponse()

    async def ImportOpenApi(
        self, request: ImportOpenApiRequest, context: Context
    ) -> ImportOpenApiResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.required("document", request.document)
        checks.done()
        # A large document takes a second, in which other calls go on.
        described = await asyncio.to_thread(read_event_types, request.document)
        now = self._clock()
        open_database = self._database.read if request.dry_run else self._database.write
        async with open_database() as conn:
            existing = await event_types.find_many(
                conn, environment_id=environment_id, names=[one.name for one in described]
            )
            plan = plan_import(described, existing)
            if not request.dry_run:
                for store, chosen in (
                    (event_types.create, plan.created),
                    (event_types.store_update, plan.updated),
                ):
                    for event_type in chosen:
                        stored = await store(
                            conn, environment_id=environment_id, event_type=event_type, now=now
                        )
                        event_type.CopyFrom(stored)
        if not request.dry_run:
            self._rules.forget(environment_id)
        return plan


def _check_reference(event_type: str) -> None:
    checks = Checks()
    checks.reference("event_type", event_type)
    checks.done()
