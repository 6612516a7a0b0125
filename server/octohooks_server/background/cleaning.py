"""Cleaning: rounds that delete history whose time is over, and what is left of what was deleted."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.background.upkeep import Step
from octohooks_server.store import history, purging
from octohooks_server.store.database import Database, take_turn
from octohooks_server.store.purging import Purged

_ROWS_AT_ONCE = 200
_TIME_BETWEEN_ROUNDS = timedelta(hours=1)
# A watch that was away for less misses nothing, whatever was deleted meanwhile.
_DELETED_KEPT_FOR = timedelta(days=7)
# One server at a time does it.
_TURN = "cleaning"
_AT_ONCE = datetime.min.replace(tzinfo=UTC)

# Works on what comes first behind an ID; answers the ID to go on behind, or None at the end.
_Work = Callable[[AsyncConnection, str, datetime], Awaitable[str | None]]


@dataclass(slots=True)
class _Round:
    """Where a round stands that goes through IDs in their order."""

    after: str = ""
    begins_at: datetime = _AT_ONCE


class Cleaning:
    """Each step is one transaction that deletes at most 200 things, found by an index."""

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
        self._events = _Round()
        self._messages = _Round()
        self._applications = _Round()
        self._environments = _Round()

    def all(self) -> Sequence[Step]:
        """Every step."""
        purge = (self.purge_deleted_applications, self.purge_deleted_environments)
        if self._history_retention is None:
            return purge
        return (self.clean_history, *purge)

    async def clean_history(self) -> bool:
        """Deletes the oldest events of each environment, and then the messages that had them."""

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

        return await self._go_on(self._events, clean_events) or await self._go_on(
            self._messages, clean_messages
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

        return await self._go_on(self._applications, purge)

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

        return await self._go_on(self._environments, purge)

    async def _go_on(self, round: _Round, work: _Work) -> bool:
        now = self._clock()
        if now < round.begins_at:
            return False
        async with self._database.write() as conn:
            if not await take_turn(conn, _TURN, wait=False):
                return False
            last = await work(conn, round.after, now)
        round.after = last or ""
        if last is None:
            round.begins_at = now + _TIME_BETWEEN_ROUNDS
        return last is not None

    def _kept_from(self, now: datetime) -> datetime:
        assert self._history_retention is not None
        return now - self._history_retention
