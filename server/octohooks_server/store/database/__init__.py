"""The database: transactions, and everything in which SQLite and PostgreSQL differ."""

from sqlalchemy.engine import URL, make_url

from octohooks_server.store.database.base import Database, DatabaseRefuses
from octohooks_server.store.database.postgresql import PostgresDatabase
from octohooks_server.store.database.sqlite import SqliteDatabase
from octohooks_server.store.database.statements import (
    among,
    insert_unless_taken,
    key_pairs,
    take_turn,
)

__all__ = [
    "Database",
    "DatabaseRefuses",
    "PostgresDatabase",
    "SqliteDatabase",
    "among",
    "insert_unless_taken",
    "key_pairs",
    "open_database",
    "take_turn",
]


def open_database(url: str | URL, *, connections: int = 10) -> Database:
    """The database behind a `sqlite:` or `postgresql:` URL; nothing is connected to yet.

    `connections` is how many a PostgreSQL database is used through at most; SQLite needs no more
    than one that writes.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return PostgresDatabase(parsed, connections=connections)
    return SqliteDatabase(parsed)
