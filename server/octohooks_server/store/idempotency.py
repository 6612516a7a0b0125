"""The first answers to creates that carried an idempotency key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import FailedPrecondition
from octohooks_server.store.database import among, insert_or_replace
from octohooks_server.store.tables import idempotent_answers

KEPT_FOR = timedelta(hours=12)

# A scope and the hash of a key in it.
Key = tuple[str, bytes]

# The answer under a key that is given as parameters.
_BY_KEY = and_(
    idempotent_answers.c.scope == bindparam("of_scope"),
    idempotent_answers.c.key_hash == bindparam("of_key"),
)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request under its key. `scope` is the environment's ID, or `operator`."""

    scope: str
    key_hash: bytes
    request_hash: bytes

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.scope, self.key_hash

    def require_same(self, earlier_request_hash: bytes) -> None:
        """FailedPrecondition when the key was used before with another request."""
        if self.request_hash != earlier_request_hash:
            raise FailedPrecondition(
                "The idempotency key was used before, with another request.",
                reason="IDEMPOTENCY_KEY_REUSED",
            )


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the key was used for before."""

    request_hash: bytes
    answer: bytes


async def reserve(
    conn: AsyncConnection, requests: Sequence[KeyedRequest], *, now: datetime
) -> Mapping[Key, Earlier]:
    """Takes the keys for this transaction, and answers those that were used before.

    A transaction that has reserved one of the keys is waited for. What is reserved must be given an
    answer by `keep` or be let go by `release` before the commit.
    """
    wanted: dict[Key, KeyedRequest] = {}
    for request in requests:
        wanted.setdefault(request.key, request)
    if not wanted:
        return {}
    reserved = await conn.execute(
        insert_or_replace(
            conn, idempotent_answers, where=idempotent_answers.c.expires_at <= now
        ).returning(idempotent_answers.c.scope, idempotent_answers.c.key_hash),
        [
            {
                "scope": request.scope,
                "key_hash": request.key_hash,
                "request_hash": request.request_hash,
                "answer": None,
                "expires_at": now + KEPT_FOR,
            }
            # In one order, so that two transactions never wait for each other.
            for _, request in sorted(wanted.items(), key=lambda entry: entry[0])
        ],
    )
    return await _earlier(conn, wanted.keys() - {(row.scope, row.key_hash) for row in reserved})


async def _earlier(conn: AsyncConnection, keys: Collection[Key]) -> dict[Key, Earlier]:
    """What is stored under these keys."""
    if not keys:
        return {}
    rows = await conn.execute(
        select(idempotent_answers).where(
            among(idempotent_answers.c.scope, {scope for scope, _ in keys}),
            idempotent_answers.c.key_hash.in_([key_hash for _, key_hash in keys]),
        )
    )
    return {
        (row.scope, row.key_hash): Earlier(row.request_hash, row.answer)
        for row in rows
        if (row.scope, row.key_hash) in keys
    }


async def is_used(conn: AsyncConnection, request: KeyedRequest, *, now: datetime) -> bool:
    """Whether the key was used before, with whichever request."""
    used = await conn.scalar(
        select(idempotent_answers.c.key_hash).where(
            idempotent_answers.c.scope == request.scope,
            idempotent_answers.c.key_hash == request.key_hash,
            idempotent_answers.c.expires_at > now,
        )
    )
    return used is not None


async def keep(conn: AsyncConnection, answers: Collection[tuple[KeyedRequest, bytes]]) -> None:
    """Stores the answers to reserved requests."""
    if answers:
        await conn.execute(
            update(idempotent_answers).where(_BY_KEY).values(answer=bindparam("the_answer")),
            [
                {"of_scope": request.scope, "of_key": request.key_hash, "the_answer": answer}
                for request, answer in answers
            ],
        )


async def release(conn: AsyncConnection, requests: Collection[KeyedRequest]) -> None:
    """Lets reserved keys go, since their requests failed."""
    await _delete(conn, [request.key for request in requests])


async def remove_expired(conn: AsyncConnection, *, now: datetime, limit: int) -> int:
    """Deletes at most `limit` answers whose time is over, the oldest first, and says how many.

    It waits for nobody: those that a transaction is about to replace are passed over.
    """
    expired = (
        select(idempotent_answers.c.scope, idempotent_answers.c.key_hash)
        .where(idempotent_answers.c.expires_at <= now)
        .order_by(idempotent_answers.c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [(row.scope, row.key_hash) for row in await conn.execute(expired)]
    await _delete(conn, keys)
    return len(keys)


async def _delete(conn: AsyncConnection, keys: Collection[Key]) -> None:
    """Deletes rows that this transaction holds."""
    if keys:
        await conn.execute(
            delete(idempotent_answers).where(_BY_KEY),
            [{"of_scope": scope, "of_key": key_hash} for scope, key_hash in keys],
        )
