"""Destinations: endpoints with all that an attempt needs of them, read in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

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


async def by_ids(
    conn: AsyncConnection, *, environment_ids: Sequence[str], ids: Sequence[str], now: datetime
) -> Mapping[str, Found]:
    """The endpoints with these IDs, and whether they are disabled or deleted."""
    rows = await _BY_IDS.rows(conn, environment_ids=environment_ids, ids=ids, now=now)
    return {found[0]["id"]: found for found in of_rows(rows, keyring_of(conn), now)}


def of_rows(rows: Sequence[Row], keyring: Keyring, now: datetime) -> list[Found]:
    """The destinations in rows that hold `COLUMNS`, with one secret each, in the order `ORDER`."""
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


COLUMNS: Sequence[ColumnElement[Any]] = (
    endpoints.c.id,
    endpoints.c.environment_id,
    endpoints.c.application_id,
    endpoints.c.url,
    endpoints.c.headers,
    endpoints.c.rate_limit,
    endpoints.c.retry_schedule,
    applications.c.rate_limit.label("application_rate_limit"),
    environments.c.retry_schedule.label("environment_retry_schedule"),
    endpoint_secrets.c.endpoint_id,
    endpoint_secrets.c.number,
    endpoint_secrets.c.secret,
    endpoint_secrets.c.signature_type,
    endpoint_secrets.c.created_at,
    endpoint_secrets.c.expires_at,
)
ORDER: Sequence[ColumnElement[Any]] = (endpoints.c.id, endpoint_secrets.c.number.desc())
# Of the secrets, those that sign what is sent to an endpoint at the time `now`.
SIGNS = and_(
    same(endpoint_secrets.c.environment_id, endpoints.c.environment_id),
    endpoint_secrets.c.endpoint_id == endpoints.c.id,
    or_(endpoint_secrets.c.expires_at.is_(None), endpoint_secrets.c.expires_at > bindparam("now")),
)
_BY_IDS = Prepared(
    select(
        *COLUMNS,
        endpoints.c.disabled,
        endpoints.c.deleted_at,
        applications.c.deleted_at.label("application_deleted_at"),
    )
    .select_from(endpoints)
    .join(applications, OF_APPLICATION)
    .join(environments, environments.c.id == endpoints.c.environment_id)
    .outerjoin(endpoint_secrets, SIGNS)
    .where(
        within(endpoints.c.environment_id, texts("environment_ids")),
        among(endpoints.c.id, texts("ids")),
    )
    .order_by(*ORDER)
)
