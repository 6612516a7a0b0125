"""The steps of the upkeep."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.background.upkeep import Step
from octohooks_server.store import api_keys, idempotency, jobs, payloads, retirement, servers
from octohooks_server.store.database import Database, take_turn
from octohooks_server.store.feed import Feed

# The name of the turn in which what is too old is deleted: by one server at a time.
RETENTION_TURN = "retention"

_ROWS_AT_ONCE = 500
_MESSAGES_AT_ONCE = 200
# Most of what a job looks at it leaves alone.
_LOOKED_AT_BY_A_JOB = 500
_DEAD_KEPT_FOR = timedelta(hours=1)


class Steps:
    """Each method is one transaction's worth of work and answers whether there may be more."""

    def __init__(
        self,
        database: Database,
        *,
        feed: Feed,
        clock: Callable[[], datetime],
        take_key_uses: Callable[[], dict[str, datetime]],
        look_for_due: Callable[[], None],
    ) -> None:
        """`take_key_uses` answers when API keys were used since it was called last, and
        `look_for_due` is told when deliveries were made due.
        """
        self._database = database
        self._feed = feed
        self._clock = clock
        self._take_key_uses = take_key_uses
        self._look_for_due = look_for_due

    def of_all_servers(self) -> Sequence[Step]:
        """What any server may do for all, in the order of the steps' turns."""
        return (
            self.cancel_for_retired_endpoints,
            self.advance_a_job,
            self.delete_expired_payloads,
            self.forget_old_answers,
            self.forget_old_jobs,
            self.forget_dead_servers,
        )

    def of_this_server(self) -> Sequence[Step]:
        """What each server has to do for itself."""
        return (self.note_key_uses,)

    async def cancel_for_retired_endpoints(self) -> bool:
        """Goes on cancelling what waits for endpoints that are disabled or deleted."""
        async with self._database.read() as conn:
            if not await retirement.is_due(conn):
                return False
        async with self._database.write() as conn:
            environment_id = await retirement.continue_one(conn, now=self._clock())
        if environment_id is None:
            return False
        self._feed.announce([environment_id])
        return True

    async def advance_a_job(self) -> bool:
        """Goes on with a recovery or a replay."""
        async with self._database.read() as conn:
            if not await jobs.is_any_running(conn):
                return False
        async with self._database.write() as conn:
            advanced = await jobs.advance_one(conn, now=self._clock(), limit=_LOOKED_AT_BY_A_JOB)
        self._look_for_due()
        return advanced

    async def delete_expired_payloads(self) -> bool:
        """Deletes payloads, and the response bodies of their attempts, whose time is over."""
        async with self._retention_turn() as conn:
            if conn is None:
                return False
            deleted = await payloads.delete_expired(
                conn, now=self._clock(), limit=_MESSAGES_AT_ONCE
            )
        return deleted == _MESSAGES_AT_ONCE

    async def forget_old_jobs(self) -> bool:
        """Deletes jobs that finished long ago."""
        async with self._retention_turn() as conn:
            if conn is not None:
                await jobs.remove_old(conn, now=self._clock())
        return False

    async def forget_dead_servers(self) -> bool:
        """Deletes what servers said of themselves that ended long ago without a goodbye."""
        async with self._retention_turn() as conn:
            if conn is not None:
                await servers.remove_dead(conn, before=self._clock() - _DEAD_KEPT_FOR)
        return False

    async def forget_old_answers(self) -> bool:
        """Deletes answers to idempotent creates whose 12 hours are over."""
        async with self._retention_turn() as conn:
            if conn is None:
                return False
            removed = await idempotency.remove_expired(conn, now=self._clock(), limit=_ROWS_AT_ONCE)
        return removed == _ROWS_AT_ONCE

    async def note_key_uses(self) -> bool:
        """Stores when API keys were last used."""
        uses = self._take_key_uses()
        if uses:
            async with self._database.write() as conn:
                await api_keys.mark_used(conn, used_at=uses)
        return False

    @asynccontextmanager
    async def _retention_turn(self) -> AsyncIterator[AsyncConnection | None]:
        """A transaction to delete in what is too old; None while another server is in one."""
        async with self._database.write() as conn:
            yield conn if await take_turn(conn, RETENTION_TURN, wait=False) else None
