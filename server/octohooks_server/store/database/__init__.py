"""The database: transactions, and everything in which SQLite and PostgreSQL differ."""

import os
from collections.abc import Sequence

from sqlalchemy.engine import URL

from octohooks_server.rules.keyring import Keyring
from octohooks_server.store.database.base import Database, DatabaseRefuses
from octohooks_server.store.database.postgresql import PostgresDatabase
from octohooks_server.store.database.prepared import Prepared, Row
from octohooks_server.store.database.rows import InsertRows, UpdateRows, copy_into, run_together
from octohooks_server.store.database.sqlite import SqliteDatabase
from octohooks_server.store.database.statements import (
    among,
    delete_first,
    erasing_what_is_replaced,
    insert_or_replace,
    insert_unless_taken,
    key_pairs,
    same,
    take_turn,
    texts,
    within,
)

__all__ = [
    "Database",
    "DatabaseRefuses",
    "InsertRows",
    "PostgresDatabase",
    "Prepared",
    "Row",
    "SqliteDatabase",
    "UpdateRows",
    "among",
    "copy_into",
    "delete_first",
    "erasing_what_is_replaced",
    "insert_or_replace",
    "insert_unless_taken",
    "key_pairs",
    "open_database",
    "run_together",
    "same",
    "take_turn",
    "texts",
    "within",
]


def open_database(
    url: str | URL, *, connections: int = 10, encryption_keys: Sequence[bytes] = ()
) -> Database:
    """The database behind a `sqlite:` or `postgresql:` URL; nothing is connected to yet.

    That of a PostgreSQL database is a text, as libpq takes it, which may name several hosts.

    `connections` is how many a PostgreSQL database is used through at most; SQLite needs no more
    than one that writes. `encryption_keys`, the newest first, are what secrets in it are sealed
    with.
    """
    keyring = Keyring(encryption_keys, os.urandom)
    if isinstance(url, str) and url.startswith(("postgresql:", "postgres:")):
        return PostgresDatabase(url, connections=connections, keyring=keyring)
    return SqliteDatabase(url, keyring=keyring)
