"""Deliveries that are due by the million, written past the server while it does not run."""

import contextlib
import sqlite3
from pathlib import Path

from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING

_MESSAGES = """
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :messages)
INSERT INTO messages (
    id, environment_id, application_id, event_type, payload_expires_at, created_at, payload
)
SELECT
    -- IDs of a time before any that the server makes.
    'msg_00' || printf('%024d', n), environment_id, id, 'a.b', :now + 86400000000, :now, X'7B7D'
FROM number, applications WHERE id = :application
"""

# In the order of the primary key, which is the quickest.
_DELIVERIES = """
INSERT INTO deliveries (
    message_id, endpoint_id, environment_id, application_id, status, cancel_reason, claim,
    attempt_count, scheduled_count, manual_requests, scheduled_at, due_at, leased, created_at
)
SELECT
    messages.id, endpoints.id, messages.environment_id, messages.application_id, :pending, 0, 0,
    0, 0, 0, messages.created_at, messages.created_at, FALSE, messages.created_at
FROM messages, endpoints
WHERE messages.application_id = :application AND endpoints.application_id = :application
ORDER BY messages.id, endpoints.id
"""

_INDEXES = """
SELECT name, sql FROM sqlite_master
WHERE type = 'index' AND tbl_name = 'deliveries' AND sql IS NOT NULL
"""


def leave_due(data_dir: Path, *, application: str, messages: int, now: int) -> int:
    """Makes so many messages due at each endpoint of an application, as of `now`, in microseconds
    since the epoch; answers how many deliveries there are then."""
    values = {
        "application": application,
        "messages": messages,
        "now": now,
        "pending": DELIVERY_STATUS_PENDING,
    }
    with contextlib.closing(sqlite3.connect(data_dir / "octohooks.db")) as database:
        # Were this cut off, the test would have failed anyway.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -500000")
        with database:
            database.execute(_MESSAGES, values)
            # Indexes are made faster than they are kept up.
            indexes = database.execute(_INDEXES).fetchall()
            for name, _ in indexes:
                database.execute(f"DROP INDEX {name}")
            made = database.execute(_DELIVERIES, values).rowcount
            for _, statement in indexes:
                database.execute(statement)
        return made
