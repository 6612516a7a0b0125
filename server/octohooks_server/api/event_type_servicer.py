"""EventTypeService."""

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
from octohooks_server.api.event_type_import import (
    describes_the_same,
    read_event_types,
    with_description_of,
)
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.api.schema_threads import in_schema_thread
from octohooks_server.errors import AlreadyExists
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
        await in_schema_thread(check_event_type, checks, "event_type", request.event_type)
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
        find = event_types.find if request.allow_missing else event_types.get
        name = request.event_type
        while True:
            async with self._database.read() as conn:
                current = await find(conn, environment_id=environment_id, name=name)
            if current is None:
                checks.event_type("event_type", name)
            new = updated(
                current or EventType(name=name),
                request.values,
                request.update_mask,
                changeable=_CHANGEABLE,
            )
            await in_schema_thread(check_event_type, checks, "values", new)
            checks.done()
            async with self._database.write() as conn:
                # The check takes long and is not made in here, where all others would wait for it.
                if current != await event_types.find(
                    conn, environment_id=environment_id, name=name, for_update=True
                ):
                    continue
                store = event_types.create if current is None else event_types.store_update
                try:
                    stored = await store(
                        conn, environment_id=environment_id, event_type=new, now=self._clock()
                    )
                except AlreadyExists:
                    # Somebody described it meanwhile.
                    continue
            break
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
        described = await in_schema_thread(read_event_types, request.document)
        response = ImportOpenApiResponse()
        now = self._clock()
        begin = self._database.read if request.dry_run else self._database.write
        async with begin() as conn:
            for event_type in described:
                name = event_type.name
                existing = await event_types.find(
                    conn,
                    environment_id=environment_id,
                    name=name,
                    for_update=not request.dry_run,
                )
                if existing is not None and describes_the_same(existing, event_type):
                    response.unchanged.append(name)
                    continue
                store, changed = event_types.create, response.created
                if existing is not None:
                    event_type = with_description_of(existing, event_type)
                    store, changed = event_types.store_update, response.updated
                if not request.dry_run:
                    event_type = await store(
                        conn, environment_id=environment_id, event_type=event_type, now=now
                    )
                changed.append(event_type)
        if not request.dry_run:
            self._rules.forget(environment_id)
        return response


def _check_reference(event_type: str) -> None:
    checks = Checks()
    checks.reference("event_type", event_type)
    checks.done()
