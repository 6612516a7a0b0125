"""The secrets that messages to an endpoint are signed with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import Keyring
from octohooks_server.store.database import Row
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
    rows = await conn.execute(
        select(endpoint_secrets)
        .where(
            endpoint_secrets.c.environment_id == environment_id,
            endpoint_secrets.c.endpoint_id == endpoint_id,
            or_(endpoint_secrets.c.expires_at.is_(None), endpoint_secrets.c.expires_at > now),
        )
        .order_by(endpoint_secrets.c.number.desc())
    )
    return opened(keyring_of(conn), rows.mappings().all())


def opened(keyring: Keyring, rows: Sequence[Row | RowMapping]) -> Sequence[StoredSecret]:
    """The secrets in rows of an endpoint's; CannotOpen when one of them does not open."""
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
