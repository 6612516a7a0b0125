"""OperationalWebhookService: the environment's own endpoints, over the same code as all others."""

from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    CreateOperationalWebhookResponse,
    DeleteOperationalWebhookRequest,
    DeleteOperationalWebhookResponse,
    GetOperationalWebhookRequest,
    GetOperationalWebhookResponse,
    GetOperationalWebhookSecretRequest,
    GetOperationalWebhookSecretResponse,
    ListOperationalWebhooksRequest,
    ListOperationalWebhooksResponse,
    UpdateOperationalWebhookRequest,
    UpdateOperationalWebhookResponse,
)
from octohooks.v1.operational_webhook_service_pb2_grpc import OperationalWebhookServiceServicer
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.audit import AuditLog, fields_changed, fields_set
from octohooks_server.api.caller import environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.endpoint_changes import EndpointChanges
from octohooks_server.api.field_masks import updated
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.api.pages import cut_to_size
from octohooks_server.api.secrets import shown_secrets
from octohooks_server.errors import NotFound
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import applications, endpoints
from octohooks_server.store.operational import EVENT_TYPES

_CHANGEABLE = (
    "uid",
    "url",
    "description",
    "event_types",
    "headers",
    "signature_type",
    "disabled",
)
_OUTPUT_ONLY = ("id", "disable_reason", "create_time", "update_time")
_KIND = "operational webhook"
_RESOURCE_TYPE = "operational_webhook"


class OperationalWebhookServicer(OperationalWebhookServiceServicer):
    """Manages the operational webhooks of the caller's environment."""

    def __init__(self, dependencies: Dependencies, changes: EndpointChanges) -> None:
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._ids = dependencies.ids
        self._clock = dependencies.clock
        self._feed = dependencies.feed
        self._recall = dependencies.recall
        self._changes = changes
        self._audit = AuditLog(dependencies)

    async def CreateOperationalWebhook(
        self, request: CreateOperationalWebhookRequest, context: Context
    ) -> CreateOperationalWebhookResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        webhook = request.operational_webhook
        checks.output_only("operational_webhook", webhook, _OUTPUT_ONLY)
        self._check(checks, "operational_webhook", webhook)
        checks.done()
        async with self._database.write() as conn:
            now = self._clock()

            async def make() -> CreateOperationalWebhookResponse:
                application_id = await applications.ensure_operational(
                    conn, environment_id=environment_id, new_id=self._ids.new(APPLICATION), now=now
                )
                made = await self._changes.create(
                    conn,
                    environment_id=environment_id,
                    application_id=application_id,
                    endpoint=_endpoint(webhook),
                    secret=request.secret,
                    now=now,
                )
                given = [*fields_set(webhook), *["secret"] * bool(request.secret)]
                await self._audit.record(conn, _RESOURCE_TYPE, made.id, changed=given)
                return CreateOperationalWebhookResponse(operational_webhook=_webhook(made))

            return await once(
                conn,
                request,
                make,
                CreateOperationalWebhookResponse,
                now=now,
            )

    async def GetOperationalWebhook(
        self, request: GetOperationalWebhookRequest, context: Context
    ) -> GetOperationalWebhookResponse:
        environment_id = environment_of_caller()
        _check_reference(request.operational_webhook)
        async with self._database.read() as conn:
            endpoint = await _get(conn, environment_id, request.operational_webhook)
        return GetOperationalWebhookResponse(operational_webhook=_webhook(endpoint))

    async def ListOperationalWebhooks(
        self, request: ListOperationalWebhooksRequest, context: Context
    ) -> ListOperationalWebhooksResponse:
        environment_id = environment_of_caller()
        checks = Checks()
        limit = checks.page_size(request.page_size)
        checks.done()
        after = self._tokens.open(str, request, environment_id)
        async with self._database.read() as conn:
            application_id = await applications.find_operational(
                conn, environment_id=environment_id
            )
            if application_id is None:
                return ListOperationalWebhooksResponse()
            page = await endpoints.list_page(
                conn, application_id=application_id, after=after, limit=limit
            )
        page = cut_to_size(page, lambda endpoint: endpoint.id)
        return ListOperationalWebhooksResponse(
            operational_webhooks=[_webhook(endpoint) for endpoint in page.items],
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def UpdateOperationalWebhook(
        self, request: UpdateOperationalWebhookRequest, context: Context
    ) -> UpdateOperationalWebhookResponse:
        environment_id = environment_of_caller()
        _check_reference(request.operational_webhook)
        async with self._database.write() as conn:
            current = await _get(conn, environment_id, request.operational_webhook, for_update=True)
            # Not before: it may have been changed while it was waited for.
            now = self._clock()
            new = updated(
                _webhook(current), request.values, request.update_mask, changeable=_CHANGEABLE
            )
            checks = Checks()
            self._check(checks, "values", new)
            checks.done()
            endpoint = Endpoint()
            endpoint.CopyFrom(current)
            for name in _CHANGEABLE:
                endpoint.ClearField(name)  # type: ignore[arg-type]
            endpoint.MergeFrom(_endpoint(new))
            stored = await self._changes.update(
                conn, environment_id=environment_id, current=current, new=endpoint, now=now
            )
            changed = fields_changed(_webhook(current), new)
            await self._audit.record(conn, _RESOURCE_TYPE, stored.id, changed=changed)
        self._changed(environment_id, stored.id)
        return UpdateOperationalWebhookResponse(operational_webhook=_webhook(stored))

    async def DeleteOperationalWebhook(
        self, request: DeleteOperationalWebhookRequest, context: Context
    ) -> DeleteOperationalWebhookResponse:
        environment_id = environment_of_caller()
        _check_reference(request.operational_webhook)
        async with self._database.write() as conn:
            endpoint = await _get(
                conn, environment_id, request.operational_webhook, for_update=True
            )
            await self._changes.delete(
                conn, environment_id=environment_id, endpoint=endpoint, now=self._clock()
            )
            await self._audit.record(conn, _RESOURCE_TYPE, endpoint.id)
        self._changed(environment_id, endpoint.id)
        return DeleteOperationalWebhookResponse()

    async def GetOperationalWebhookSecret(
        self, request: GetOperationalWebhookSecretRequest, context: Context
    ) -> GetOperationalWebhookSecretResponse:
        environment_id = environment_of_caller()
        _check_reference(request.operational_webhook)
        # Whoever reads a secret can sign with it, so that is written down.
        async with self._database.write() as conn:
            endpoint = await _get(conn, environment_id, request.operational_webhook)
            await self._audit.record(conn, _RESOURCE_TYPE, endpoint.id)
            secrets = await shown_secrets(
                conn,
                environment_id=environment_id,
                endpoint_id=endpoint.id,
                now=self._clock(),
            )
        return GetOperationalWebhookSecretResponse(secrets=secrets)

    def _check(self, checks: Checks, field: str, webhook: OperationalWebhook) -> None:
        self._changes.check(checks, field, _endpoint(webhook))
        for index, event_type in enumerate(webhook.event_types):
            if event_type not in EVENT_TYPES:
                checks.problem(
                    f"{field}.event_types[{index}]",
                    f"There is no such notification; known are {', '.join(EVENT_TYPES)}.",
                )

    def _changed(self, environment_id: str, endpoint_id: str) -> None:
        self._recall([endpoint_id])
        self._feed.announce([environment_id])


async def _get(
    conn: AsyncConnection, environment_id: str, reference: str, *, for_update: bool = False
) -> Endpoint:
    application_id = await applications.find_operational(conn, environment_id=environment_id)
    endpoint = application_id and await endpoints.find(
        conn, application_id=application_id, reference=reference, for_update=for_update
    )
    if not endpoint:
        raise NotFound(_KIND, reference)
    return endpoint


def _check_reference(reference: str) -> None:
    checks = Checks()
    checks.reference("operational_webhook", reference)
    checks.done()


def _endpoint(webhook: OperationalWebhook) -> Endpoint:
    """The endpoint that an operational webhook is, as far as a caller decides it."""
    return Endpoint(
        uid=webhook.uid,
        url=webhook.url,
        description=webhook.description,
        event_types=webhook.event_types,
        headers=webhook.headers,
        signature_type=webhook.signature_type,
        disabled=webhook.disabled,
    )


def _webhook(endpoint: Endpoint) -> OperationalWebhook:
    return OperationalWebhook(
        id=endpoint.id,
        uid=endpoint.uid,
        url=endpoint.url,
        description=endpoint.description,
        event_types=endpoint.event_types,
        headers=endpoint.headers,
        signature_type=endpoint.signature_type,
        disabled=endpoint.disabled,
        disable_reason=endpoint.disable_reason,
        create_time=endpoint.create_time,
        update_time=endpoint.update_time,
    )
