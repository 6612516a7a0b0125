"""Addressees: applications with all that the acceptance of a message for them needs to know."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import destinations
from octohooks_server.store.database import Prepared, among, texts, within
from octohooks_server.store.destinations import COLUMNS, ORDER, SIGNS, Found
from octohooks_server.store.endpoints import OF_APPLICATION
from octohooks_server.store.environments import DEFAULT_PAYLOAD_RETENTION
from octohooks_server.store.sealing import keyring_of
from octohooks_server.store.tables import applications, endpoint_secrets, endpoints, environments

Reference = tuple[str, str]
"""The ID of an environment, and the ID or UID of one of its applications."""


class Addressee(NamedTuple):
    """An application as it was at one moment."""

    application_id: str
    # Whether it is the environment's own application, which is no customer's.
    is_operational: bool
    # What its environment says.
    payload_retention: timedelta
    # The enabled endpoints, with their filters.
    endpoints: Sequence[Found]


async def find(
    conn: AsyncConnection, references: Iterable[Reference], *, now: datetime
) -> dict[Reference, Addressee]:
    """The applications that exist of those that are named, in one read for all that have IDs.

    Those that are named by UIDs take another one.
    """
    wanted = set(references)
    by_id = {one for one in wanted if one[1].startswith(APPLICATION)}
    found: dict[Reference, Addressee] = {}
    # Two statements: with an OR of both, no index would be used.
    for select_, named in ((_BY_ID, by_id), (_BY_UID, wanted - by_id)):
        if named:
            environment_ids, names = map(list, map(set, zip(*named, strict=True)))
            rows = await select_.rows(conn, environment_ids=environment_ids, names=names, now=now)
            endpoints_of: defaultdict[str, list[Found]] = defaultdict(list)
            with_endpoint = [row for row in rows if row["id"] is not None]
            for endpoint, destination in destinations.of_rows(with_endpoint, keyring_of(conn), now):
                endpoints_of[destination.application_id].append((endpoint, destination))
            for row in rows:
                found[row["of_environment"], row["name"]] = Addressee(
                    row["addressee_id"],
                    row["is_operational"],
                    row["payload_retention"] or DEFAULT_PAYLOAD_RETENTION,
                    endpoints_of[row["addressee_id"]],
                )
    return found


def _find_by(name: ColumnElement[str], of_environments: ColumnElement[bool]) -> Prepared:
    is_enabled = and_(OF_APPLICATION, endpoints.c.deleted_at.is_(None), ~endpoints.c.disabled)
    return Prepared(
        select(
            *COLUMNS,
            endpoints.c.event_types,
            endpoints.c.channels,
            name.label("name"),
            applications.c.id.label("addressee_id"),
            applications.c.environment_id.label("of_environment"),
            applications.c.is_operational,
            environments.c.payload_retention,
        )
        .select_from(applications)
        .join(environments, environments.c.id == applications.c.environment_id)
        .outerjoin(endpoints, is_enabled)
        .outerjoin(endpoint_secrets, SIGNS)
        .where(
            of_environments,
            among(name, texts("names")),
            applications.c.deleted_at.is_(None),
            environments.c.deleted_at.is_(None),
        )
        .order_by(*ORDER)
    )


_BY_ID = _find_by(
    applications.c.id, within(applications.c.environment_id, texts("environment_ids"))
)
_BY_UID = _find_by(
    applications.c.uid, among(applications.c.environment_id, texts("environment_ids"))
)
