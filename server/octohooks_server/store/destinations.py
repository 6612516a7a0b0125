"""Destinations: endpoints with all that an attempt needs of them, read in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from octohooks_server.rules.keyring import CannotOpen, Keyring
from octohooks_server.rules.schedule import DEFAULT_SCHEDULE
from octohooks_server.store.database import Prepared, Row, among, same, texts, within
from octohooks_server.store.endpoint_secrets import StoredSecret, opened
from octohooks_server.store.endpoints import OF_APPLICATION, headers_of
from octohooks_server.store.sealing import keyring_of
from octohooks_server.store.tables import applications, endpoint_secrets, endpoints, environments


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
    # No change that was made later is in it.
    read_at: datetime
    # Why nothing may be sent to it: its secrets or headers do not open; it has none of them then.
    obstacle: str = ""


Found = tuple[Row, Destination]
"""A destination, and the row with what else was read of the endpoint."""


async def enabled_of(
    conn: AsyncConnection,
    *,
    environment_ids: Sequence[str],
    application_ids: Sequence[str],
    now: datetime,
) -> Mapping[str, list[Found]]:
    """The enabled endpoints of each application, with their filters, in one read for a group."""
    found: dict[str, list[Found]] = {id: [] for id in application_ids}
    rows = await _ENABLED_OF.rows(
        conn, environment_ids=environment_ids, application_ids=application_ids, now=now
    )
    for row, destination in _destinations(rows, keyring_of(conn), now):
        found[destination.application_id].append((row, destination))
    return found


async def by_ids(
    conn: AsyncConnection, *, environment_ids: Sequence[str], ids: Sequence[str], now: datetime
) -> Mapping[str, Found]:
    """The endpoints with these IDs, and whether they are disabled or deleted."""
    rows = await _BY_IDS.rows(conn, environment_ids=environment_ids, ids=ids, now=now)
    return {found[0]["id"]: found for found in _destinations(rows, keyring_of(conn), now)}


def _destinations(rows: Sequence[Row], keyring: Keyring, now: datetime) -> list[Found]:
    """The destinations in rows that hold one secret each."""
    found = []
    for _, of_endpoint in groupby(rows, itemgetter("id")):
        with_secrets = list(of_endpoint)
        row = with_secrets[0]
        headers: Mapping[str, str] = {}
        secrets: Sequence[StoredSecret] = ()
        obstacle = ""
        try:
            headers = headers_of(row, keyring)
            if row["number"] is not None:
                secrets = opened(keyring, with_secrets)
        except CannotOpen as error:
            obstacle = str(error)
        destination = Destination(
            environment_id=row["environment_id"],
            application_id=row["application_id"],
            endpoint_id=row["id"],
            url=row["url"],
            headers=headers,
            secrets=secrets,
            schedule=(
                row["retry_schedule"] or row["environment_retry_schedule"] or DEFAULT_SCHEDULE
            ),
            rate_limit=row["rate_limit"],
            application_rate_limit=row["application_rate_limit"],
            read_at=now,
            obstacle=obstacle,
        )
        found.append((row, destination))
    return found


def _select(*more: ColumnElement[Any]) -> Select[Any]:
    """What `_destinations` needs, and more of the endpoints: a row for each secret that signs."""
    secret = endpoint_secrets.c
    signs = and_(
        same(secret.environment_id, endpoints.c.environment_id),
        secret.endpoint_id == endpoints.c.id,
        or_(secret.expires_at.is_(None), secret.expires_at > bindparam("now")),
    )
    return (
        select(
            endpoints.c.id,
            endpoints.c.environment_id,
            endpoints.c.application_id,
            endpoints.c.url,
            endpoints.c.headers,
            endpoints.c.rate_limit,
            endpoints.c.retry_schedule,
            applications.c.rate_limit.label("application_rate_limit"),
            environments.c.retry_schedule.label("environment_retry_schedule"),
            secret.endpoint_id,
            secret.number,
            secret.secret,
            secret.signature_type,
            secret.created_at,
            secret.expires_at,
            *more,
        )
        .select_from(endpoints)
        .join(applications, OF_APPLICATION)
        .join(environments, environments.c.id == endpoints.c.environment_id)
        .outerjoin(endpoint_secrets, signs)
        .where(within(endpoints.c.environment_id, texts("environment_ids")))
        .order_by(endpoints.c.id, secret.number.desc())
    )


_ENABLED_OF = Prepared(
    _select(endpoints.c.event_types, endpoints.c.channels).where(
        among(endpoints.c.application_id, texts("application_ids")),
        endpoints.c.deleted_at.is_(None),
        ~endpoints.c.disabled,
    )
)
_BY_IDS = Prepared(
    _select(
        endpoints.c.disabled,
        endpoints.c.deleted_at,
        applications.c.deleted_at.label("application_deleted_at"),
    ).where(among(endpoints.c.id, texts("ids")))
)
