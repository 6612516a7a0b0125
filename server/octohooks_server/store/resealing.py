"""Puts what is secret in the database under another key, or under none, a few rows at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import (
    KEY_ID_CHARACTERS,
    SEALED_PREFIX,
    CannotOpen,
    Keyring,
)
from octohooks_server.store import instance
from octohooks_server.store.sealing import (
    Place,
    keyring_of,
    place_of_headers,
    place_of_secret,
)
from octohooks_server.store.tables import endpoint_secrets, endpoints

_MARK = len(SEALED_PREFIX)


@dataclass(frozen=True, slots=True)
class _Secrets:
    """A column of secrets, and what it takes to find and open one of them."""

    column: Column[Any]
    key: Sequence[Column[Any]]
    place: Callable[[Row[Any]], Place]

    @property
    def table(self) -> Table:
        return self.column.table

    @property
    def key_id(self) -> ColumnElement[Any]:
        """The ID of the key that a row is sealed with; NULL when it is plain."""
        return case(
            (
                func.substr(self.column, 1, _MARK) == SEALED_PREFIX,
                func.substr(self.column, _MARK + 1, KEY_ID_CHARACTERS),
            )
        )


_KINDS = (
    _Secrets(
        endpoint_secrets.c.secret,
        (endpoint_secrets.c.endpoint_id, endpoint_secrets.c.number),
        lambda row: place_of_secret(row.environment_id, row.endpoint_id, row.number),
    ),
    _Secrets(
        endpoints.c.headers,
        (endpoints.c.id,),
        lambda row: place_of_headers(row.environment_id, row.id),
    ),
)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a walk over all secrets has come."""

    kind: int = 0
    after: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Some rows to seal anew, and where the walk goes on."""

    kind: int
    keys: Sequence[tuple[Any, ...]]
    then: Position


@dataclass(frozen=True, slots=True)
class Resealed:
    """What came of some rows."""

    count: int
    # Why rows stayed as they are: they do not open.
    left: Sequence[str]


async def count_by_key(conn: AsyncConnection) -> Mapping[str | None, int]:
    """How many secrets are sealed with each key, by its ID; with none, under None."""
    counts: dict[str | None, int] = {}
    for kind in _KINDS:
        key_id = kind.key_id.label("key_id")
        rows = await conn.execute(
            select(key_id, func.count()).where(kind.column.is_not(None)).group_by(key_id)
        )
        for id, count in rows:
            counts[id] = counts.get(id, 0) + count
    async for id in instance.key_ids(conn):
        counts[id] = counts.get(id, 0) + 1
    return counts


async def missing_keys(conn: AsyncConnection) -> Sequence[str]:
    """The IDs of the keys that secrets are sealed with and the connection's keyring has not."""
    used = await count_by_key(conn)
    return sorted(id for id in used if id is not None and id not in keyring_of(conn).key_ids)


async def find_some(
    conn: AsyncConnection, position: Position, *, seals: Keyring, limit: int
) -> Found | None:
    """At most `limit` rows from here on that `seals` would keep otherwise; None at the end."""
    for number in range(position.kind, len(_KINDS)):
        kind = _KINDS[number]
        after = position.after if number == position.kind else ()
        rows = (
            await conn.execute(
                select(*kind.key)
                .where(
                    kind.column.is_not(None),
                    _differs(kind.key_id, seals.newest),
                    *([tuple_(*kind.key) > after] if after else []),
                )
                .order_by(*kind.key)
                .limit(limit)
            )
        ).all()
        if rows:
            keys = [tuple(row) for row in rows]
            return Found(number, keys, Position(number, keys[-1]))
    return None


async def reseal(conn: AsyncConnection, found: Found, *, seals: Keyring) -> Resealed:
    """Opens the rows that were found with the connection's keyring, and seals them with another."""
    kind = _KINDS[found.kind]
    opens = keyring_of(conn)
    rows = await conn.execute(
        select(kind.table)
        .where(or_(*(and_(*_equal(kind.key, key)) for key in found.keys)))
        # In the order that all transactions keep, lest they deadlock.
        .order_by(*kind.key)
        .with_for_update()
    )
    changed = []
    left = []
    for row in rows:
        place = kind.place(row)
        stored = row._mapping[kind.column]
        if stored is None:
            continue
        try:
            text = opens.open(stored, place)
        except CannotOpen as error:
            left.append(str(error))
            continue
        changed.append(
            {f"of_{column.name}": row._mapping[column] for column in kind.key}
            | {"resealed": seals.seal(text, place)}
        )
    if changed:
        where = [column == bindparam(f"of_{column.name}") for column in kind.key]
        await conn.execute(
            update(kind.table).where(*where).values({kind.column: bindparam("resealed")}), changed
        )
    return Resealed(len(changed), left)


def _differs(key_id: ColumnElement[Any], wanted: str | None) -> ColumnElement[bool]:
    if wanted is None:
        return key_id.is_not(None)
    return or_(key_id.is_(None), key_id != wanted)


def _equal(key: Sequence[Column[Any]], values: tuple[Any, ...]) -> list[ColumnElement[bool]]:
    return [column == value for column, value in zip(key, values, strict=True)]
