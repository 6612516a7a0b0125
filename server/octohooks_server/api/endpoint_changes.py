"""What it takes to make, change and end an endpoint, of an application or of the environment."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
)
from octohooks.v1.endpoint_pb2 import (
    SIGNATURE_TYPE_UNSPECIFIED,
    DisableReason,
    Endpoint,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.secrets import check_secret, new_secret
from octohooks_server.rules.addresses import Subnet
from octohooks_server.rules.endpoint_headers import headers_problem
from octohooks_server.rules.ids import ENDPOINT
from octohooks_server.rules.names import MAX_ENDPOINT_CHANNELS
from octohooks_server.rules.urls import url_problem
from octohooks_server.store import endpoint_secrets, endpoints, environments, retirement
from octohooks_server.store.operational import (
    ENDPOINT_CREATED,
    ENDPOINT_DELETED,
    ENDPOINT_DISABLED,
    ENDPOINT_ENABLED,
    ENDPOINT_UPDATED,
    Notice,
    disable_reason_name,
    notify,
)

_OUTPUT_ONLY = (
    "id",
    "application",
    "disable_reason",
    "failing_since",
    "create_time",
    "update_time",
)
_MAX_EVENT_TYPES = 500
_MAX_DESCRIPTION = 1_024


class EndpointChanges:
    """Makes, changes and ends endpoints inside a transaction of the caller's."""

    def __init__(self, dependencies: Dependencies, allowed_subnets: tuple[Subnet, ...]) -> None:
        self._ids = dependencies.ids
        self._random_bytes = dependencies.random_bytes
        self._allowed_subnets = allowed_subnets

    def check_new(self, checks: Checks, field: str, endpoint: Endpoint) -> None:
        """What a new endpoint has to satisfy."""
        checks.output_only(field, endpoint, _OUTPUT_ONLY)
        self.check(checks, field, endpoint)

    def check(self, checks: Checks, field: str, endpoint: Endpoint) -> None:
        """What every endpoint has to satisfy, new or changed."""
        checks.uid(f"{field}.uid", endpoint.uid)
        if checks.required(f"{field}.url", endpoint.url):
            checks.problem(f"{field}.url", url_problem(endpoint.url, self._allowed_subnets))
        checks.text(f"{field}.description", endpoint.description, most=_MAX_DESCRIPTION)
        checks.event_types(f"{field}.event_types", endpoint.event_types, most=_MAX_EVENT_TYPES)
        checks.channels(f"{field}.channels", endpoint.channels, most=MAX_ENDPOINT_CHANNELS)
        checks.problem(f"{field}.headers", headers_problem(endpoint.headers))
        checks.rate_limit(f"{field}.rate_limit", endpoint.rate_limit)
        if endpoint.HasField("retry_schedule"):
            checks.retry_schedule(f"{field}.retry_schedule.steps", endpoint.retry_schedule)
        checks.metadata(f"{field}.metadata", endpoint.metadata)

    async def create(
        self,
        conn: AsyncConnection,
        *,
        environment_id: str,
        application_id: str,
        endpoint: Endpoint,
        secret: str,
        now: datetime,
    ) -> Endpoint:
        """Makes an endpoint with its first secret, generated when none is given."""
        endpoint = await self._with_signature_type(conn, environment_id, endpoint)
        checks = Checks()
        check_secret(checks, secret, endpoint.signature_type)
        checks.done()
        made = await endpoints.create(
            conn,
            environment_id=environment_id,
            application_id=application_id,
            id=self._ids.new(ENDPOINT),
            endpoint=endpoint,
            now=now,
        )
        await self.replace_secret(
            conn,
            environment_id=environment_id,
            endpoint=made,
            secret=secret,
            overlap=timedelta(0),
            now=now,
        )
        await self._tell(conn, environment_id, made, [ENDPOINT_CREATED], now)
        return made

    async def update(
        self,
        conn: AsyncConnection,
        *,
        environment_id: str,
        current: Endpoint,
        new: Endpoint,
        now: datetime,
    ) -> Endpoint:
        """Stores a changed endpoint; where this disables it, what waits for it is cancelled."""
        new = await self._with_signature_type(conn, environment_id, new)
        if not new.disabled:
            new.ClearField("disable_reason")
            if current.disabled:
                # A fresh start: five more days of failures disable it again.
                new.ClearField("failing_since")
        elif not current.disabled:
            new.disable_reason = DisableReason.DISABLE_REASON_REQUESTED
        stored = await endpoints.store_update(
            conn, environment_id=environment_id, endpoint=new, now=now
        )
        if new.signature_type != current.signature_type:
            await endpoint_secrets.end_all(conn, endpoint_id=stored.id, now=now)
            await self.replace_secret(
                conn,
                environment_id=environment_id,
                endpoint=stored,
                secret="",
                overlap=timedelta(0),
                now=now,
            )
        if new.disabled and not current.disabled:
            await retirement.retire(
                conn,
                environment_id=environment_id,
                endpoint_id=new.id,
                reason=CANCEL_REASON_ENDPOINT_DISABLED,
                now=now,
            )
        event_types = [ENDPOINT_UPDATED]
        if new.disabled != current.disabled:
            event_types.append(ENDPOINT_DISABLED if new.disabled else ENDPOINT_ENABLED)
        await self._tell(conn, environment_id, stored, event_types, now)
        return stored

    async def delete(
        self, conn: AsyncConnection, *, environment_id: str, endpoint: Endpoint, now: datetime
    ) -> None:
        """Ends an endpoint and cancels what waits for it."""
        await endpoints.mark_deleted(conn, id=endpoint.id, now=now)
        await retirement.retire(
            conn,
            environment_id=environment_id,
            endpoint_id=endpoint.id,
            reason=CANCEL_REASON_ENDPOINT_DELETED,
            now=now,
        )
        await self._tell(conn, environment_id, endpoint, [ENDPOINT_DELETED], now)

    async def replace_secret(
        self,
        conn: AsyncConnection,
        *,
        environment_id: str,
        endpoint: Endpoint,
        secret: str,
        overlap: timedelta,
        now: datetime,
    ) -> None:
        """Makes a secret the current one; the one before signs along until the overlap ends."""
        await endpoint_secrets.add(
            conn,
            environment_id=environment_id,
            endpoint_id=endpoint.id,
            secret=secret or new_secret(endpoint.signature_type, self._random_bytes),
            signature_type=endpoint.signature_type,
            replaced_expire_at=now + overlap,
            now=now,
        )

    async def _tell(
        self,
        conn: AsyncConnection,
        environment_id: str,
        endpoint: Endpoint,
        event_types: Sequence[str],
        now: datetime,
    ) -> None:
        """Tells the environment's owner what happened to an endpoint."""
        data: dict[str, str | int] = {"endpoint": endpoint.id, "endpoint_uid": endpoint.uid}
        await notify(
            conn,
            [
                Notice(
                    environment_id,
                    endpoint.application,
                    event_type,
                    data | _reason(endpoint) if event_type == ENDPOINT_DISABLED else data,
                )
                for event_type in event_types
            ],
            now=now,
            ids=self._ids,
        )

    async def _with_signature_type(
        self, conn: AsyncConnection, environment_id: str, endpoint: Endpoint
    ) -> Endpoint:
        if endpoint.signature_type != SIGNATURE_TYPE_UNSPECIFIED:
            return endpoint
        environment = await environments.get(conn, environment_id)
        complete = Endpoint()
        complete.CopyFrom(endpoint)
        complete.signature_type = environment.default_signature_type
        return complete


def _reason(endpoint: Endpoint) -> dict[str, str | int]:
    return {"reason": disable_reason_name(endpoint.disable_reason)}
