"""ApplicationService."""

from collections.abc import Collection
from contextlib import suppress

from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    CreateApplicationResponse,
    DeleteApplicationRequest,
    DeleteApplicationResponse,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
    UpdateApplicationRequest,
    UpdateApplicationResponse,
)
from octohooks.v1.application_service_pb2_grpc import ApplicationServiceServicer
from octohooks.v1.delivery_pb2 import CANCEL_REASON_APPLICATION_DELETED
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.audit import AuditLog, fields_changed, fields_set
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import current_caller, environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.errors import AlreadyExists
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import api_keys, applications, endpoints, retirement
from octohooks_server.store.operational import ENDPOINT_DELETED, Notice, notify

_CHANGEABLE = ("uid", "name", "rate_limit", "metadata")
_OUTPUT_ONLY = ("id", "create_time", "update_time")


def check_application(checks: Checks, field: str, application: Application) -> None:
    """What every application has to satisfy, new or changed."""
    checks.uid(f"{field}.uid", application.uid)
    checks.text(f"{field}.name", application.name, most=256)
    checks.rate_limit(f"{field}.rate_limit", application.rate_limit)
    checks.metadata(f"{field}.metadata", application.metadata)


def check_new_application(checks: Checks, field: str, application: Application) -> None:
    """What a new application has to satisfy."""
    checks.output_only(field, application, _OUTPUT_ONLY)
    check_application(checks, field, application)


class ApplicationServicer(ApplicationServiceServicer):
    """Manages the applications of the caller's environment."""

    def __init__(self, dependencies: Dependencies, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._audit = AuditLog(dependencies)
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._ids = dependencies.ids
        self._clock = dependencies.clock
        self._wake_background = dependencies.wake_background
        self._recall = dependencies.recall
        self._look_for_due = dependencies.look_for_due

    async def CreateApplication(
        self, request: CreateApplicationRequest, context: Context
    ) -> CreateApplicationResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        check_new_application(checks, "application", request.application)
        checks.done()
        now = self._clock()

        async with self._database.write() as conn:

            async def make() -> CreateApplicationResponse:
                made = await self._create(conn, environment_id, request.application)
                await self._audit.record(
                    conn,
                    "application",
                    made.id,
                    application_id=made.id,
                    changed=fields_set(request.application),
                )
                return CreateApplicationResponse(application=made)

            return await once(conn, request, make, CreateApplicationResponse, now=now)

    async def GetApplication(
        self, request: GetApplicationRequest, context: Context
    ) -> GetApplicationResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        checks.done()
        async with self._database.read() as conn:
            application = await applications.get(
                conn, environment_id=environment_id, reference=request.application
            )
        return GetApplicationResponse(application=application)

    async def ListApplications(
        self, request: ListApplicationsRequest, context: Context
    ) -> ListApplicationsResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            page = await applications.list_page(
                conn,
                environment_id=environment_id,
                only=current_caller().application_id,
                after=after,
                limit=limit,
            )
        return ListApplicationsResponse(
            applications=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def UpdateApplication(
        self, request: UpdateApplicationRequest, context: Context
    ) -> UpdateApplicationResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        checks.done()
        async with self._database.write() as conn:
            find = applications.find if request.allow_missing else applications.get
            while True:
                current = await find(
                    conn,
                    environment_id=environment_id,
                    reference=request.application,
                    for_update=True,
                )
                if current is None:
                    checks.made_by_uid("application", request.application)
                    current = Application(uid=request.application)
                new = updated(current, request.values, request.update_mask, changeable=_CHANGEABLE)
                check_application(checks, "values", new)
                if not new.id and new.uid != request.application:
                    checks.problem(
                        "values.uid", "A missing application is made with the UID asked for."
                    )
                checks.done()
                if new.id:
                    stored = await applications.store_update(
                        conn, environment_id=environment_id, application=new, now=self._clock()
                    )
                    break
                # Where somebody else makes it meanwhile, what they made is updated.
                with suppress(AlreadyExists):
                    stored = await self._create(conn, environment_id, new)
                    break
            await self._audit.record(
                conn,
                "application",
                stored.id,
                application_id=stored.id,
                changed=fields_changed(current, new) if current.id else fields_set(new),
            )
        return UpdateApplicationResponse(application=stored)

    async def DeleteApplication(
        self, request: DeleteApplicationRequest, context: Context
    ) -> DeleteApplicationResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        checks.done()
        with self._authenticator.changing():
            orphans = await self._delete(environment_id, request.application)
        self._recall(orphans)
        self._look_for_due()
        self._wake_background()
        return DeleteApplicationResponse()

    async def _delete(self, environment_id: str, reference: str) -> Collection[str]:
        """Deletes an application; answers the IDs of the endpoints that went with it."""
        async with self._database.write() as conn:
            now = self._clock()
            id = await applications.get_id(conn, environment_id=environment_id, reference=reference)
            await applications.mark_deleted(conn, id=id, now=now)
            await api_keys.remove_all_of_application(conn, application_id=id)
            await self._audit.record(conn, "application", id, application_id=id)
            orphans = await endpoints.mark_all_deleted(conn, application_id=id, now=now)
            await retirement.retire_later(
                conn,
                environment_id=environment_id,
                endpoint_ids=orphans,
                reason=CANCEL_REASON_APPLICATION_DELETED,
            )
            await notify(
                conn,
                [
                    Notice(
                        environment_id,
                        id,
                        ENDPOINT_DELETED,
                        {"endpoint": orphan, "endpoint_uid": uid},
                    )
                    for orphan, uid in orphans.items()
                ],
                now=now,
                ids=self._ids,
            )
        return orphans

    async def _create(
        self, conn: AsyncConnection, environment_id: str, application: Application
    ) -> Application:
        return await applications.create(
            conn,
            environment_id=environment_id,
            id=self._ids.new(APPLICATION),
            application=application,
            now=self._clock(),
        )
