"""AuditService."""

from collections.abc import Collection

from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest, ListAuditEventsResponse
from octohooks.v1.audit_service_pb2_grpc import AuditServiceServicer

from octohooks_server.api.caller import Context, current_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.errors import NotFound
from octohooks_server.store import audit
from octohooks_server.store.audit import AuditFilter

_MAX_METHODS = 50
# What page tokens are bound to that go through all environments.
_ALL_ENVIRONMENTS = ""


class AuditServicer(AuditServiceServicer):
    """Shows who changed what in the caller's environment, or to the operator in all."""

    def __init__(self, dependencies: Dependencies, methods: Collection[str]) -> None:
        """`methods` are the names of all RPCs."""
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._methods = frozenset(methods)

    async def ListAuditEvents(
        self, request: ListAuditEventsRequest, context: Context
    ) -> ListAuditEventsResponse:
        caller = current_caller()
        checks = Checks()
        checks.reference("environment", request.environment, required=False)
        checks.reference("actor", request.actor, required=False)
        checks.reference("resource", request.resource, required=False)
        limit = checks.page_size(request.page_size)
        if len(request.methods) > _MAX_METHODS:
            checks.problem("methods", f"There are at most {_MAX_METHODS} methods in a filter.")
        for index, name in enumerate(request.methods[:_MAX_METHODS]):
            if name not in self._methods:
                checks.problem(f"methods[{index}]", "There is no RPC of this name.")
        after = checks.time("after", request, "after")
        before = checks.time("before", request, "before")
        checks.range("before", after, before)
        checks.done()
        if not caller.is_operator and request.environment not in ("", caller.environment_id):
            raise NotFound("environment", request.environment)
        environment_id = request.environment or caller.environment_id
        matching = AuditFilter(
            environment_id=environment_id,
            actor=request.actor,
            methods=tuple(request.methods),
            resource=request.resource,
            after=after,
            before=before,
        )
        scope = caller.environment_id or _ALL_ENVIRONMENTS
        behind = self._tokens.open(str, request, scope)
        async with self._database.read() as conn:
            page = await audit.list_page(conn, matching=matching, behind=behind, limit=limit)
        return ListAuditEventsResponse(
            audit_events=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, scope),
        )
