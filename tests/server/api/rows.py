"""What the database holds of an environment, behind the back of the server."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

Rows: TypeAlias = dict[str, list[tuple[Any, ...]]]
"""Rows by the names of their tables."""


def rows_of(database_file: Path, environment_id: str) -> Rows:
    """All that the database holds of an environment, but for when its keys were used last."""
    found = {}
    with closing(sqlite3.connect(f"file:{database_file}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            owner = {"environments": "id", "idempotent_answers": "scope"}.get(
                table, "environment_id"
            )
            if owner in columns:
                kept = ", ".join(column for column in columns if column != "last_used_at")
                query = f"SELECT {kept} FROM {table} WHERE {owner} = ? ORDER BY {kept}"
                found[table] = database.execute(query, [environment_id]).fetchall()
            elif "endpoint_id" in columns:
                query = (
                    f"SELECT * FROM {table} WHERE endpoint_id IN"
                    " (SELECT id FROM endpoints WHERE environment_id = ?) ORDER BY 1, 2"
                )
                found[table] = database.execute(query, [environment_id]).fetchall()
    return found
