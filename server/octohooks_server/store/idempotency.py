"""The first answers to creates that carried an idempotency key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import FailedPrecondition
from octohooks_server.store.database import among, insert_unless_taken
from octohooks_server.store.tables import idempotent_answers

KEPT_FOR = timedelta(hours=12)

# A scope and the hash of a key in it.
Key = tuple[str, bytes]


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
    if not requests:
        return {}
    keys = {request.key for request in requests}
    hashes = [key_hash for _, key_hash in keys]
    await conn.execute(
        delete(idempotent_answers).where(
            among(idempotent_answers.c.scope, {scope for scope, _ in keys}),
            idempotent_answers.c.key_hash.in_(hashes),
            idempotent_answers.c.expires_at <= now,
        )
    )
    left: dict[Key, KeyedRequest] = {}
    for request in requests:
        left.setdefault(request.key, request)
    earlier: dict[Key, Earlier] = {}
    # Again for one that was taken, and was deleted before it could be read.
    while left:
        made = await conn.execute(
            insert_unless_taken(conn, idempotent_answers).returning(
                idempotent_answers.c.scope, idempotent_answers.c.key_hash
            ),
            [
                {
                    "scope": request.scope,
                    "key_hash": request.key_hash,
                    "request_hash": request.request_hash,
                    "answer": None,
                    "expires_at": now + KEPT_FOR,
                }
                # In one order, so that two transactions never wait for each other.
                for _, request in sorted(left.items(), key=lambda entry: entry[0])
            ],
        )
        for row in made:
            del left[row.scope, row.key_hash]
        earlier.update(await _earlier(conn, left))
        for key in earlier:
            left.pop(key, None)
    return earlier


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
            update(idempotent_answers)
            .where(
                idempotent_answers.c.scope == bindparam("of_scope"),
                idempotent_answers.c.key_hash == bindparam("of_key"),
            )
            .values(answer=bindparam("the_answer")),
            [
                {"of_scope": request.scope, "of_key": request.key_hash, "the_answer": answer}
                for request, answer in answers
            ],
        )


async def release(conn: AsyncConnection, requests: Collection[KeyedRequest]) -> None:
    """Lets reserved keys go, since their requests failed."""
    for request in requests:
        await conn.execute(
            delete(idempotent_answers).where(
                idempotent_answers.c.scope == request.scope,
                idempotent_answers.c.key_hash == request.key_hash,
            )
        )


async def remove_expired(conn: AsyncConnection, *, now: datetime, limit: int) -> int:
    """Deletes at most `limit` answers whose time is over, and says how many."""
    expired = (
        select(idempotent_answers.c.scope, idempotent_answers.c.key_hash)
        .where(idempotent_answers.c.expires_at <= now)
        .limit(limit)
    )
    rows = (await conn.execute(expired)).all()
    for row in rows:
        await conn.execute(
            delete(idempotent_answers).where(
                idempotent_answers.c.scope == row.scope,
                idempotent_answers.c.key_hash == row.key_hash,
            )
        )
    return len(rows)
