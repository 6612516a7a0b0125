"""Cleaning: rounds that delete history whose time is over, and what is left of what was deleted."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.background.steps import RETENTION_TURN
from octohooks_server.background.upkeep import Step
from octohooks_server.store import audit, history, purging, rounds
from octohooks_server.store.database import Database, take_turn
from octohooks_server.store.purging import Purged
from octohooks_server.store.rounds import Round

_ROWS_AT_ONCE = 200
_TIME_BETWEEN_ROUNDS = timedelta(hours=1)
# A watch that was away for less misses nothing, whatever was deleted meanwhile.
_DELETED_KEPT_FOR = timedelta(days=7)

# Works on what comes first behind an ID; answers the ID to go on behind, or None at the end.
_Work = Callable[[AsyncConnection, str, datetime], Awaitable[str | None]]


class Cleaning:
    """Each step is one transaction that deletes at most 200 things, found by an index.

    Rounds are those of all servers on the database together: one begins each hour, and whichever
    server comes next takes its next step.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        history_retention: timedelta | None,
    ) -> None:
        """Without a `history_retention`, history is kept as long as what it belongs to."""
        self._database = database
        self._clock = clock
        self._history_retention = history_retention

    def all(self) -> Sequence[Step]:
        """Every step."""
        purge = (self.purge_deleted_applications, self.purge_deleted_environments)
        if self._history_retention is None:
            return purge
        return (self.clean_history, *purge)

    async def clean_history(self) -> bool:
        """Deletes the oldest events of each environment, the messages that had them, and the oldest
        of the audit log.
        """

        async def clean_events(conn: AsyncConnection, after: str, now: datetime) -> str | None:
            id = await history.next_environment(conn, after=after)
            if id is None:
                return None
            cleaned = await history.clean_events(
                conn, environment_id=id, before=self._kept_from(now), limit=_ROWS_AT_ONCE
            )
            return after if cleaned == _ROWS_AT_ONCE else id

        async def clean_messages(conn: AsyncConnection, after: str, now: datetime) -> str | None:
            return await history.clean_messages(
                conn, after=after, before=self._kept_from(now), limit=_ROWS_AT_ONCE
            )

        async def clean_audit_log(conn: AsyncConnection, after: str, now: datetime) -> str | None:
            cleaned = await audit.clean(conn, before=self._kept_from(now), limit=_ROWS_AT_ONCE)
            return after if cleaned == _ROWS_AT_ONCE else None

        return (
            await self._go_on("events", clean_events)
            or await self._go_on("messages", clean_messages)
            or await self._go_on("audit log", clean_audit_log)
        )

    async def purge_deleted_applications(self) -> bool:
        """Deletes what is left of applications that were deleted a week ago."""

        async def purge(conn: AsyncConnection, after: str, now: datetime) -> str | None:
            application = await purging.next_application(
                conn, after=after, deleted_before=now - _DELETED_KEPT_FOR
            )
            if application is None:
                return None
            purged = await purging.purge_application(
                conn, application=application, limit=_ROWS_AT_ONCE
            )
            return after if purged is Purged.MORE else application.id

        return await self._go_on("applications", purge)

    async def purge_deleted_environments(self) -> bool:
        """Deletes what is left of environments that were deleted a week ago."""

        async def purge(conn: AsyncConnection, after: str, now: datetime) -> str | None:
            id = await purging.next_environment(
                conn, after=after, deleted_before=now - _DELETED_KEPT_FOR
            )
            if id is None:
                return None
            purged = await purging.purge_environment(conn, id=id, limit=_ROWS_AT_ONCE)
            return after if purged is Purged.MORE else id

        return await self._go_on("environments", purge)

    async def _go_on(self, name: str, work: _Work) -> bool:
        now = self._clock()
        async with self._database.read() as conn:
            if now < (await rounds.get(conn, name)).begins_at:
                return False
        async with self._database.write() as conn:
            if not await take_turn(conn, RETENTION_TURN, wait=False):
                return False
            round = await rounds.get(conn, name)
            if now < round.begins_at:
                return False
            last = await work(conn, round.position, now)
            following = (
                Round("", now + _TIME_BETWEEN_ROUNDS)
                if last is None
                else Round(last, round.begins_at)
            )
            await rounds.store(conn, name, following)
        return last is not None

    def _kept_from(self, now: datetime) -> datetime:
        assert self._history_retention is not None
        return now - self._history_retention
