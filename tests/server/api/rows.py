"""What the database holds, behind the back of the server."""

from collections.abc import Collection
from typing import Any, TypeAlias

from octohooks_server.store.database import Database
from octohooks_server.store.tables import endpoints, metadata
from sqlalchemy import Table, select
from sqlalchemy.sql import ColumnElement

Rows: TypeAlias = dict[str, list[tuple[Any, ...]]]
"""Rows by the names of their tables."""


async def rows_of(database: Database, environment_id: str) -> Rows:
    """All that the database holds of an environment, but for when its keys were used last."""
    found: Rows = {}
    async with database.read() as conn:
        for table in metadata.sorted_tables:
            belongs = _belongs(table, environment_id)
            if belongs is not None:
                kept = [column for column in table.c if column.name != "last_used_at"]
                rows = await conn.execute(select(*kept).where(belongs).order_by(*kept))
                found[table.name] = [tuple(row) for row in rows]
    return found


async def all_text(database: Database, *, without: Collection[str] = ()) -> str:
    """All that the database holds but in some tables, as text; bytes as hexadecimal digits too."""
    texts: list[str] = []
    async with database.read() as conn:
        for table in metadata.sorted_tables:
            if table.name in without:
                continue
            for row in await conn.execute(select(table)):
                texts += [repr(value) for value in row]
                texts += [value.hex() for value in row if isinstance(value, bytes)]
    return "\n".join(texts)


def _belongs(table: Table, environment_id: str) -> ColumnElement[bool] | None:
    """The condition that a row is of the environment; None where none can be."""
    owner = {"environments": "id", "idempotent_answers": "scope"}.get(table.name, "environment_id")
    if owner in table.c:
        return table.c[owner] == environment_id
    if "endpoint_id" in table.c:
        return table.c.endpoint_id.in_(
            select(endpoints.c.id).where(endpoints.c.environment_id == environment_id)
        )
    return None
