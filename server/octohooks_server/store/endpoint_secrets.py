"""The secrets that messages to an endpoint are signed with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import Keyring
from octohooks_server.store.database import Prepared, Row, among, texts, within
from octohooks_server.store.sealing import keyring_of, place_of_secret
from octohooks_server.store.tables import endpoint_secrets


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One secret in its text form (`whsec_...` or `whsk_...`) and how long it lives."""

    secret: str
    signature_type: int
    created_at: datetime
    expires_at: datetime | None


async def add(
    conn: AsyncConnection,
    *,
    environment_id: str,
    endpoint_id: str,
    secret: str,
    signature_type: int,
    replaced_expire_at: datetime,
    now: datetime,
) -> None:
    """Makes a secret the current one; the one before signs until `replaced_expire_at`."""
    await conn.execute(
        delete(endpoint_secrets).where(
            endpoint_secrets.c.endpoint_id == endpoint_id, endpoint_secrets.c.expires_at <= now
        )
    )
    await conn.execute(
        update(endpoint_secrets)
        .where(
            endpoint_secrets.c.endpoint_id == endpoint_id, endpoint_secrets.c.expires_at.is_(None)
        )
        .values(expires_at=replaced_expire_at)
    )
    newest = await conn.scalar(
        select(func.max(endpoint_secrets.c.number)).where(
            endpoint_secrets.c.endpoint_id == endpoint_id
        )
    )
    number = (newest or 0) + 1
    place = place_of_secret(environment_id, endpoint_id, number)
    await conn.execute(
        insert(endpoint_secrets),
        {
            "endpoint_id": endpoint_id,
            "number": number,
            "environment_id": environment_id,
            "secret": keyring_of(conn).seal(secret, place),
            "signature_type": signature_type,
            "created_at": now,
            "expires_at": None,
        },
    )


async def end_all(conn: AsyncConnection, *, endpoint_id: str, now: datetime) -> None:
    """Lets none of an endpoint's secrets sign any more, those in their overlap neither."""
    await conn.execute(
        update(endpoint_secrets)
        .where(endpoint_secrets.c.endpoint_id == endpoint_id)
        .values(expires_at=now)
    )


async def live_of(
    conn: AsyncConnection, endpoint_id: str, *, environment_id: str, now: datetime
) -> Sequence[StoredSecret]:
    """The secrets of an endpoint that sign at this moment, newest first.

    CannotOpen when one is sealed and does not open.
    """
    rows = await live_rows_of(conn, [endpoint_id], environment_ids=[environment_id], now=now)
    return opened(keyring_of(conn), rows[endpoint_id])


async def live_rows_of(
    conn: AsyncConnection,
    endpoint_ids: Sequence[str],
    *,
    environment_ids: Sequence[str],
    now: datetime,
) -> Mapping[str, list[Row]]:
    """The secrets of each endpoint that sign at this moment, newest first, as they are kept."""
    found: dict[str, list[Row]] = {id: [] for id in endpoint_ids}
    for row in await _LIVE_OF.rows(
        conn, environment_ids=environment_ids, endpoint_ids=endpoint_ids, now=now
    ):
        found[row["endpoint_id"]].append(row)
    return found


_LIVE_OF = Prepared(
    select(endpoint_secrets)
    .where(
        within(endpoint_secrets.c.environment_id, texts("environment_ids")),
        among(endpoint_secrets.c.endpoint_id, texts("endpoint_ids")),
        or_(
            endpoint_secrets.c.expires_at.is_(None),
            endpoint_secrets.c.expires_at > bindparam("now"),
        ),
    )
    .order_by(endpoint_secrets.c.endpoint_id, endpoint_secrets.c.number.desc())
)


def opened(keyring: Keyring, rows: Sequence[Row]) -> Sequence[StoredSecret]:
    """What `live_rows_of` found of an endpoint; CannotOpen when one of them does not open."""
    return [
        StoredSecret(
            keyring.open(
                row["secret"],
                place_of_secret(row["environment_id"], row["endpoint_id"], row["number"]),
            ),
            row["signature_type"],
            row["created_at"],
            row["expires_at"],
        )
        for row in rows
    ]
