"""Values that pass between the store and the delivery loop and never cross the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import CannotOpen
from octohooks_server.rules.schedule import DEFAULT_SCHEDULE
from octohooks_server.store import endpoint_secrets, endpoints
from octohooks_server.store.database import Row
from octohooks_server.store.endpoint_secrets import StoredSecret
from octohooks_server.store.environments import EnvironmentSettings
from octohooks_server.store.sealing import keyring_of


@dataclass(frozen=True, slots=True)
class Destination:
    """An endpoint as an attempt needs it; shared by all deliveries that were read together."""

    environment_id: str
    application_id: str
    endpoint_id: str
    url: str
    headers: Mapping[str, str]
    secrets: Sequence[StoredSecret]
    schedule: tuple[timedelta, ...]
    # Messages per second; 0 without a limit.
    rate_limit: int
    application_rate_limit: int
    # Why nothing may be sent to it: its secrets or headers do not open; it has none of them then.
    obstacle: str = ""


class DueDelivery(NamedTuple):
    """A delivery that this server has claimed and may attempt until `lease_ends_at`."""

    destination: Destination
    message_id: str
    event_type: str
    payload: bytes
    # The fence: what came of the attempt is recorded only while this is the newest claim.
    claim: int
    # Attempts recorded before this one, and how many of them the schedule set going.
    attempt_count: int
    scheduled_count: int
    # Whether a caller asked for this attempt.
    manual: bool
    created_at: datetime
    lease_ends_at: datetime
    # The trace that its attempts continue, as a W3C `traceparent`.
    trace_parent: str | None = None


class Outcome(NamedTuple):
    """What came of one attempt, and what is to follow."""

    delivery: DueDelivery
    started_at: datetime
    duration: timedelta
    succeeded: bool
    response_status: int
    response_headers: Sequence[tuple[str, str]]
    response_body: bytes
    response_body_truncated: bool
    error_kind: int
    error_detail: str
    # When the schedule's next attempt is due, should this one have failed; None at its end.
    retry_at: datetime | None
    # Whether the endpoint said that it is gone for good.
    endpoint_gone: bool


async def destinations_of(
    conn: AsyncConnection,
    endpoint_rows: Sequence[Row | RowMapping],
    *,
    settings: Mapping[str, EnvironmentSettings],
    now: datetime,
) -> Mapping[str, Destination]:
    """The destinations of endpoints, by endpoint ID, in one read for all of them.

    A row holds its application's rate limit as `application_rate_limit`. `settings` are those of
    the endpoints' environments, as far as these exist.
    """
    if not endpoint_rows:
        return {}
    keyring = keyring_of(conn)
    secret_rows = await endpoint_secrets.live_rows_of(
        conn,
        [row["id"] for row in endpoint_rows],
        environment_ids=list({row["environment_id"] for row in endpoint_rows}),
        now=now,
    )
    found = {}
    for row in endpoint_rows:
        environment = settings.get(row["environment_id"])
        environment_schedule = environment.retry_schedule if environment else None
        headers: Mapping[str, str] = {}
        secrets: Sequence[StoredSecret] = ()
        obstacle = ""
        try:
            headers = endpoints.headers_of(row, keyring)
            secrets = endpoint_secrets.opened(keyring, secret_rows[row["id"]])
        except CannotOpen as error:
            obstacle = str(error)
        found[row["id"]] = Destination(
            environment_id=row["environment_id"],
            application_id=row["application_id"],
            endpoint_id=row["id"],
            url=row["url"],
            headers=headers,
            secrets=secrets,
            schedule=row["retry_schedule"] or environment_schedule or DEFAULT_SCHEDULE,
            rate_limit=row["rate_limit"],
            application_rate_limit=row["application_rate_limit"],
            obstacle=obstacle,
        )
    return found
