"""Frozen servers: what they hold in the database is taken from them, so that others can go on."""

import asyncio

import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.store.database import PostgresDatabase

log = structlog.get_logger()

# With what the database waits for a session to go on, less than the least `Bounds.time_to_record`.
_SECONDS_BETWEEN_LOOKS = 0.5


async def end_frozen_sessions(database: PostgresDatabase) -> None:
    """Ends the sessions of servers that stand still in a transaction, until it is cancelled."""
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            count = await database.end_frozen_sessions()
        except Exception as error:
            expected = isinstance(error, OctohooksError)
            log.warning("frozen_sessions_not_ended", exc_info=None if expected else error)
            continue
        if count:
            log.warning("frozen_sessions_ended", count=count)
