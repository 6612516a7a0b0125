"""EnvironmentService."""

from collections.abc import Callable

from octohooks.v1.delivery_pb2 import CANCEL_REASON_APPLICATION_DELETED
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import (
    CreateEnvironmentRequest,
    CreateEnvironmentResponse,
    DeleteEnvironmentRequest,
    DeleteEnvironmentResponse,
    GetEnvironmentRequest,
    GetEnvironmentResponse,
    ListEnvironmentsRequest,
    ListEnvironmentsResponse,
    UpdateEnvironmentRequest,
    UpdateEnvironmentResponse,
)
from octohooks.v1.environment_service_pb2_grpc import EnvironmentServiceServicer

from octohooks_server.api.audit import AuditLog, fields_changed, fields_set
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.errors import NotFound
from octohooks_server.rules.ids import ENVIRONMENT
from octohooks_server.store import api_keys, endpoints, environments, retirement

_CHANGEABLE = (
    "name",
    "retry_schedule",
    "payload_retention",
    "default_signature_type",
    "enforce_schemas",
)
_OUTPUT_ONLY = ("id", "create_time", "update_time")
# Page tokens of a list that belongs to no environment are bound to this instead.
_ALL_ENVIRONMENTS = ""


class EnvironmentServicer(EnvironmentServiceServicer):
    """Manages environments, for the operator alone."""

    def __init__(
        self,
        dependencies: Dependencies,
        authenticator: Authenticator,
        settings_changed: Callable[[str], None] = lambda environment_id: None,
    ) -> None:
        """`settings_changed` is told the ID of each environment whose settings were changed."""
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._ids = dependencies.ids
        self._clock = dependencies.clock
        self._wake_background = dependencies.wake_background
        self._recall = dependencies.recall
        self._authenticator = authenticator
        self._audit = AuditLog(dependencies)
        self._settings_changed = settings_changed

    async def CreateEnvironment(
        self, request: CreateEnvironmentRequest, context: Context
    ) -> CreateEnvironmentResponse:
        checks = Checks()
        checks.output_only("environment", request.environment, _OUTPUT_ONLY)
        _check_environment(checks, "environment", request.environment)
        checks.done()
        now = self._clock()

        async with self._database.write() as conn:

            async def make() -> CreateEnvironmentResponse:
                made = await environments.create(
                    conn, id=self._ids.new(ENVIRONMENT), environment=request.environment, now=now
                )
                await self._audit.record(
                    conn,
                    "environment",
                    made.id,
                    environment_id=made.id,
                    changed=fields_set(request.environment),
                )
                return CreateEnvironmentResponse(environment=made)

            return await once(conn, request, make, CreateEnvironmentResponse, now=now)

    async def GetEnvironment(
        self, request: GetEnvironmentRequest, context: Context
    ) -> GetEnvironmentResponse:
        checks = Checks()
        checks.reference("environment", request.environment)
        checks.done()
        async with self._database.read() as conn:
            environment = await environments.get(conn, request.environment)
        return GetEnvironmentResponse(environment=environment)

    async def ListEnvironments(
        self, request: ListEnvironmentsRequest, context: Context
    ) -> ListEnvironmentsResponse:
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, _ALL_ENVIRONMENTS)
        async with self._database.read() as conn:
            page = await environments.list_page(conn, after=after, limit=limit)
        return ListEnvironmentsResponse(
            environments=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, _ALL_ENVIRONMENTS),
        )

    async def UpdateEnvironment(
        self, request: UpdateEnvironmentRequest, context: Context
    ) -> UpdateEnvironmentResponse:
        checks = Checks()
        checks.reference("environment", request.environment)
        checks.done()
        async with self._database.write() as conn:
            current = await environments.get(conn, request.environment, for_update=True)
            new = updated(current, request.values, request.update_mask, changeable=_CHANGEABLE)
            _check_environment(checks, "values", new)
            checks.done()
            stored = await environments.store_update(
                conn, id=request.environment, environment=new, now=self._clock()
            )
            await self._audit.record(
                conn,
                "environment",
                current.id,
                environment_id=current.id,
                changed=fields_changed(current, new),
            )
        self._settings_changed(request.environment)
        return UpdateEnvironmentResponse(environment=stored)

    async def DeleteEnvironment(
        self, request: DeleteEnvironmentRequest, context: Context
    ) -> DeleteEnvironmentResponse:
        checks = Checks()
        checks.reference("environment", request.environment)
        checks.done()
        id = request.environment
        now = self._clock()
        with self._authenticator.changing():
            async with self._database.write() as conn:
                # Endpoints first, as whoever records outcomes takes them.
                orphans = await endpoints.mark_all_deleted(conn, environment_id=id, now=now)
                if not await environments.mark_deleted(conn, id=id, now=now):
                    raise NotFound("environment", id)
                await api_keys.remove_all(conn, environment_id=id)
                await self._audit.record(conn, "environment", id, environment_id=id)
                # An environment goes with its applications, which is what the reason says.
                await retirement.retire_later(
                    conn,
                    environment_id=id,
                    endpoint_ids=orphans,
                    reason=CANCEL_REASON_APPLICATION_DELETED,
                )
        self._settings_changed(id)
        self._recall(orphans)
        self._wake_background()
        return DeleteEnvironmentResponse()


def _check_environment(checks: Checks, field: str, environment: Environment) -> None:
    """What every environment has to satisfy, new or changed."""
    checks.text(f"{field}.name", environment.name, most=256, required=True)
    if environment.HasField("retry_schedule"):
        checks.retry_schedule(f"{field}.retry_schedule", environment.retry_schedule)
    checks.retention(f"{field}.payload_retention", environment, "payload_retention")
