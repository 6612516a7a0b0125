"""EventTypeService."""

from contextlib import suppress
from datetime import datetime

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
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.audit import AuditLog, fields_changed, fields_set
from octohooks_server.api.caller import environment_of_caller
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
        self._audit = AuditLog(dependencies)

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
                await self._audit.record(
                    conn, "event_type", made.name, changed=fields_set(request.event_type)
                )
                return CreateEventTypeResponse(event_type=made)

            response = await once(conn, request, make, CreateEventTypeResponse, now=now)
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
                changed = fields_set(new) if current is None else fields_changed(current, new)
                await self._audit.record(conn, "event_type", name, changed=changed)
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
            await self._audit.record(conn, "event_type", name, changed=["archived"])
        self._rules.forget(environment_id)
        return ArchiveEventTypeResponse(event_type=archived)

    async def DeleteEventType(
        self, request: DeleteEventTypeRequest, context: Context
    ) -> DeleteEventTypeResponse:
        environment_id = environment_of_caller()
        _check_reference(request.event_type)
        async with self._database.write() as conn:
            await event_types.remove(conn, environment_id=environment_id, name=request.event_type)
            await self._audit.record(conn, "event_type", request.event_type)
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
            # In one order, so that two imports never wait for each other.
            for event_type in sorted(described, key=lambda one: one.name):
                while True:
                    # Where another import makes it meanwhile, it is looked at again.
                    with suppress(AlreadyExists):
                        await self._import(
                            conn, environment_id, event_type, response, request.dry_run, now
                        )
                        break
        if not request.dry_run:
            self._rules.forget(environment_id)
        return response

    async def _import(
        self,
        conn: AsyncConnection,
        environment_id: str,
        described: EventType,
        response: ImportOpenApiResponse,
        dry_run: bool,
        now: datetime,
    ) -> None:
        """Stores a described event type and says in the response what that changed."""
        existing = await event_types.find(
            conn, environment_id=environment_id, name=described.name, for_update=not dry_run
        )
        if existing is not None and describes_the_same(existing, described):
            response.unchanged.append(described.name)
            return
        store, changed, event_type = event_types.create, response.created, described
        if existing is not None:
            event_type = with_description_of(existing, described)
            store, changed = event_types.store_update, response.updated
        if not dry_run:
            event_type = await store(
                conn, environment_id=environment_id, event_type=event_type, now=now
            )
            given = fields_changed(existing or EventType(), event_type)
            await self._audit.record(
                conn, "event_type", event_type.name, changed=set(given).difference(_OUTPUT_ONLY)
            )
        changed.append(event_type)


def _check_reference(event_type: str) -> None:
    checks = Checks()
    checks.reference("event_type", event_type)
    checks.done()
