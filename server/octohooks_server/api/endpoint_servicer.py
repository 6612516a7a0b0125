"""EndpointService."""

from contextlib import suppress
from datetime import timedelta

from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    CreateEndpointResponse,
    DeleteEndpointRequest,
    DeleteEndpointResponse,
    GetEndpointRequest,
    GetEndpointResponse,
    GetEndpointSecretRequest,
    GetEndpointSecretResponse,
    ListEndpointsRequest,
    ListEndpointsResponse,
    RotateEndpointSecretRequest,
    RotateEndpointSecretResponse,
    UpdateEndpointRequest,
    UpdateEndpointResponse,
)

from octohooks_server.api.acceptance import Acceptance
from octohooks_server.api.audit import fields_changed, fields_set
from octohooks_server.api.caller import environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.endpoint_changes import EndpointChanges
from octohooks_server.api.endpoint_sending import (
    EndpointSending,
    check_references,
    get_endpoint,
    references,
)
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.api.pages import cut_to_size
from octohooks_server.api.secrets import check_secret, shown_secrets
from octohooks_server.errors import AlreadyExists
from octohooks_server.store import applications, endpoints

_CHANGEABLE = (
    "uid",
    "url",
    "description",
    "event_types",
    "channels",
    "headers",
    "rate_limit",
    "retry_schedule",
    "signature_type",
    "disabled",
    "metadata",
)
_DEFAULT_OVERLAP = timedelta(hours=24)
_MAX_OVERLAP = timedelta(days=7)


class EndpointServicer(EndpointSending):
    """Manages the endpoints of the applications of the caller's environment."""

    def __init__(
        self, dependencies: Dependencies, changes: EndpointChanges, acceptance: Acceptance
    ) -> None:
        super().__init__(dependencies, acceptance)
        self._tokens = dependencies.tokens
        self._look_for_due = dependencies.look_for_due
        self._feed = dependencies.feed
        self._recall = dependencies.recall
        self._changes = changes

    async def CreateEndpoint(
        self, request: CreateEndpointRequest, context: Context
    ) -> CreateEndpointResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        self._changes.check_new(checks, "endpoint", request.endpoint)
        checks.done()
        async with self._database.write() as conn:
            now = self._clock()

            async def make() -> CreateEndpointResponse:
                application_id = await applications.get_id(
                    conn, environment_id=environment_id, reference=request.application
                )
                made = await self._changes.create(
                    conn,
                    environment_id=environment_id,
                    application_id=application_id,
                    endpoint=request.endpoint,
                    secret=request.secret,
                    now=now,
                )
                await self._record(
                    conn, made, [*fields_set(request.endpoint), *["secret"] * bool(request.secret)]
                )
                return CreateEndpointResponse(endpoint=made)

            answer = await once(conn, request, make, CreateEndpointResponse, now=now)
        self._look_for_due()
        return answer

    async def GetEndpoint(
        self, request: GetEndpointRequest, context: Context
    ) -> GetEndpointResponse:
        environment_id = environment_of_caller()
        check_references(request.application, request.endpoint)
        async with self._database.read() as conn:
            endpoint = await get_endpoint(
                conn, environment_id, request.application, request.endpoint
            )
        return GetEndpointResponse(endpoint=endpoint)

    async def ListEndpoints(
        self, request: ListEndpointsRequest, context: Context
    ) -> ListEndpointsResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        checks.reference("application", request.application)
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            page = await endpoints.list_page(
                conn, application_id=application_id, after=after, limit=limit
            )
        page = cut_to_size(page, lambda endpoint: endpoint.id)
        return ListEndpointsResponse(
            endpoints=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def UpdateEndpoint(
        self, request: UpdateEndpointRequest, context: Context
    ) -> UpdateEndpointResponse:
        environment_id = environment_of_caller()
        check_references(request.application, request.endpoint)
        checks = Checks()
        async with self._database.write() as conn:
            application_id = await applications.get_id(
                conn, environment_id=environment_id, reference=request.application
            )
            find = endpoints.find if request.allow_missing else endpoints.get
            while True:
                current = await find(
                    conn, application_id=application_id, reference=request.endpoint, for_update=True
                )
                # Not before: it may have been changed while it was waited for.
                now = self._clock()
                if current is None:
                    checks.made_by_uid("endpoint", request.endpoint)
                    current = Endpoint(uid=request.endpoint)
                new = updated(current, request.values, request.update_mask, changeable=_CHANGEABLE)
                self._changes.check(checks, "values", new)
                if not new.id and new.uid != request.endpoint:
                    checks.problem(
                        "values.uid", "A missing endpoint is made with the UID asked for."
                    )
                checks.done()
                if new.id:
                    stored = await self._changes.update(
                        conn, environment_id=environment_id, current=current, new=new, now=now
                    )
                    break
                # Where somebody else makes it meanwhile, what they made is updated.
                with suppress(AlreadyExists):
                    stored = await self._changes.create(
                        conn,
                        environment_id=environment_id,
                        application_id=application_id,
                        endpoint=new,
                        secret="",
                        now=now,
                    )
                    break
            changed = fields_changed(current, new) if current.id else fields_set(new)
            await self._record(conn, stored, changed)
        self._changed(environment_id, stored.id)
        return UpdateEndpointResponse(endpoint=stored)

    async def DeleteEndpoint(
        self, request: DeleteEndpointRequest, context: Context
    ) -> DeleteEndpointResponse:
        environment_id = environment_of_caller()
        check_references(request.application, request.endpoint)
        async with self._database.write() as conn:
            endpoint = await get_endpoint(
                conn, environment_id, request.application, request.endpoint, for_update=True
            )
            await self._changes.delete(
                conn, environment_id=environment_id, endpoint=endpoint, now=self._clock()
            )
            await self._record(conn, endpoint)
        self._changed(environment_id, endpoint.id)
        return DeleteEndpointResponse()

    async def GetEndpointSecret(
        self, request: GetEndpointSecretRequest, context: Context
    ) -> GetEndpointSecretResponse:
        environment_id = environment_of_caller()
        check_references(request.application, request.endpoint)
        # Whoever reads a secret can sign with it, so that is written down.
        async with self._database.write() as conn:
            endpoint = await get_endpoint(
                conn, environment_id, request.application, request.endpoint
            )
            secrets = await shown_secrets(
                conn,
                environment_id=environment_id,
                endpoint_id=endpoint.id,
                now=self._clock(),
            )
            await self._record(conn, endpoint)
        return GetEndpointSecretResponse(secrets=secrets)

    async def RotateEndpointSecret(
        self, request: RotateEndpointSecretRequest, context: Context
    ) -> RotateEndpointSecretResponse:
        environment_id = environment_of_caller()
        checks = references(request.application, request.endpoint)
        overlap: timedelta | None = _DEFAULT_OVERLAP
        if request.HasField("overlap"):
            overlap = checks.duration(
                "overlap",
                request.overlap,
                least=timedelta(0),
                most=_MAX_OVERLAP,
                range_text="0 to 7 days",
            )
        checks.done()
        assert overlap is not None
        replaced_for = overlap
        now = self._clock()
        async with self._database.write() as conn:
            endpoint_id = ""

            async def make() -> RotateEndpointSecretResponse:
                nonlocal endpoint_id
                endpoint = await get_endpoint(
                    conn, environment_id, request.application, request.endpoint, for_update=True
                )
                endpoint_id = endpoint.id
                check_secret(checks, request.secret, endpoint.signature_type)
                checks.done()
                await self._changes.replace_secret(
                    conn,
                    environment_id=environment_id,
                    endpoint=endpoint,
                    secret=request.secret,
                    overlap=replaced_for,
                    now=now,
                )
                secrets = await shown_secrets(
                    conn, environment_id=environment_id, endpoint_id=endpoint.id, now=now
                )
                await self._record(conn, endpoint, ["secret"])
                return RotateEndpointSecretResponse(secrets=secrets)

            response = await once(conn, request, make, RotateEndpointSecretResponse, now=now)
        if endpoint_id:
            self._changed(environment_id, endpoint_id)
        return response

    def _changed(self, environment_id: str, endpoint_id: str) -> None:
        """Lets a committed change reach what waits in memory, the watches and the owner."""
        self._recall([endpoint_id])
        self._look_for_due()
        self._feed.announce([environment_id])
        self._wake_background()
