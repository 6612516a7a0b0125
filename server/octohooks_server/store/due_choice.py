"""Which of the due deliveries a server is to claim next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, bindparam, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from octohooks_server.store.database import Prepared
from octohooks_server.store.deliveries import Key
from octohooks_server.store.tables import deliveries, endpoints

# Of what a look may take, one in so many is for what fell due last, and one in so many is for the
# endpoints in turn, lest either waits behind a backlog that is due longer.
_SHARE = 4
# At how many endpoints with a queue one look stops, and of how many it takes more than the first.
_QUEUES_AT_ONCE = 250
_LONG_QUEUES_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What a look came to."""

    # What is to be claimed.
    keys: Sequence[Key]
    # Whether more was due than was chosen.
    has_more: bool
    # Whether there are endpoints with a queue that their turn has not come to.
    has_more_queues: bool


class _Chosen:
    """What has been chosen so far."""

    def __init__(self, limit: int, may_claim: Callable[[str], bool]) -> None:
        self._limit = limit
        self._may_claim = may_claim
        self._full: set[str] = set()
        self.keys: dict[Key, None] = {}

    @property
    def free(self) -> int:
        """How many more may be chosen."""
        return self._limit - len(self.keys)

    def has_room(self, endpoint_id: str) -> bool:
        """Whether an endpoint has not refused any yet."""
        return endpoint_id not in self._full

    def take(self, keys: Iterable[Key], most: int) -> None:
        """Chooses at most so many of these, in their order, whose endpoints have room."""
        enough = min(len(self.keys) + most, self._limit)
        for key in keys:
            if len(self.keys) >= enough:
                return
            endpoint_id = key[2]
            if key in self.keys or not self.has_room(endpoint_id):
                continue
            if self._may_claim(endpoint_id):
                self.keys[key] = None
            else:
                self._full.add(endpoint_id)


class DueChooser:
    """Chooses, look by look, so that nothing waits behind a backlog of others.

    Most of what a look takes is what is due longest. Where more is due than it can look at, a share
    goes to what fell due last, so that a retry is not made to wait behind what came before it; and
    a share goes to the endpoints in turn, so that those whose deliveries are in the middle get
    some. A look reads a bounded number of rows, each by an index, however much is due.
    """

    def __init__(self) -> None:
        # The endpoint behind which the next look goes on with the queues.
        self._after = ""
        # How many places looks have had, of which each fourth is of a share, in small looks too.
        self._places = 0

    async def choose(
        self, conn: AsyncConnection, *, now: datetime, limit: int, may_claim: Callable[[str], bool]
    ) -> Choice:
        """Up to `limit` deliveries that are due.

        `may_claim(endpoint ID)` says whether one more of an endpoint may be claimed, and counts it.
        """
        look_at = 2 * limit
        chosen = _Chosen(limit, may_claim)
        longest = await _due(conn, now, look_at)
        if len(longest) < look_at:
            self._after = ""
            chosen.take(longest, limit)
            return Choice(list(chosen.keys), len(longest) > len(chosen.keys), False)
        before, self._places = self._places, self._places + limit
        of_newest = self._places // _SHARE - before // _SHARE
        of_queues = (self._places + _SHARE // 2) // _SHARE - (before + _SHARE // 2) // _SHARE
        if of_newest:
            chosen.take(await _due(conn, now, 2 * of_newest, newest=True), of_newest)
        chosen.take(longest, chosen.free - of_queues)
        has_more_queues = False
        if chosen.free:
            has_more_queues = await self._take_from_queues(conn, chosen, now, look_at)
        chosen.take(longest, chosen.free)
        return Choice(list(chosen.keys), True, has_more_queues)

    async def _take_from_queues(
        self, conn: AsyncConnection, chosen: _Chosen, now: datetime, look_at: int
    ) -> bool:
        """Goes on with the endpoints where the last look stopped; answers whether some are left."""
        queues = await _queues(conn, self._after, now)
        seen = 0
        for queue in queues:
            if not chosen.free:
                break
            seen += 1
            if queue.first is not None:
                chosen.take([queue.first], 1)
        is_last = seen == len(queues) < _QUEUES_AT_ONCE
        self._after = "" if is_last else queues[seen - 1].endpoint_id
        with_room = [
            queue.endpoint_id
            for queue in queues[:seen]
            if queue.first and chosen.has_room(queue.endpoint_id)
        ]
        for endpoint_id in with_room[:_LONG_QUEUES_AT_ONCE]:
            if not chosen.free:
                break
            chosen.take(await _due(conn, now, look_at, endpoint_id=endpoint_id), chosen.free)
        return not is_last


async def _due(
    conn: AsyncConnection,
    now: datetime,
    limit: int,
    *,
    newest: bool = False,
    endpoint_id: str | None = None,
) -> Sequence[Key]:
    """The keys of what is due longest, or of what fell due last, of all or of one endpoint."""
    if endpoint_id is not None:
        return await _DUE_LONGEST_OF.tuples(conn, now=now, most=limit, endpoint_id=endpoint_id)
    return await (_DUE_LAST if newest else _DUE_LONGEST).tuples(conn, now=now, most=limit)


def _select_due(*conditions: ColumnElement[bool]) -> Select[tuple[str, str, str]]:
    # All nodes are to be asked, should environments be spread over several: what is due says where
    # it belongs.
    return (
        select(deliveries.c.environment_id, deliveries.c.message_id, deliveries.c.endpoint_id)
        .where(deliveries.c.due_at <= bindparam("now"), *conditions)
        .limit(bindparam("most", type_=Integer))
    )


_DUE_LONGEST = Prepared(_select_due().order_by(deliveries.c.due_at))
_DUE_LAST = Prepared(_select_due().order_by(deliveries.c.due_at.desc()))
_DUE_LONGEST_OF = Prepared(
    _select_due(deliveries.c.endpoint_id == bindparam("endpoint_id")).order_by(deliveries.c.due_at)
)


@dataclass(frozen=True, slots=True)
class _Queue:
    """An endpoint for which something waits."""

    endpoint_id: str
    # What is due longest; None when nothing is due yet.
    first: Key | None


async def _queues(conn: AsyncConnection, after: str, now: datetime) -> Sequence[_Queue]:
    """The next endpoints behind this one for which something waits, and what is due longest there.

    Reads a few index entries for each of them, whatever the length of its queue.
    """
    rows = await _QUEUES.tuples(conn, after=after, now=now, most=_QUEUES_AT_ONCE)
    return [
        _Queue(endpoint_id, None if first is None else (environment_id, first, endpoint_id))
        for endpoint_id, first, environment_id in rows
    ]


def _select_queues() -> Select[tuple[str, str | None, str]]:
    waiting = deliveries.c.due_at.is_not(None)
    queue = (
        select(func.min(deliveries.c.endpoint_id).label("endpoint_id"), literal(1).label("number"))
        .where(waiting, deliveries.c.endpoint_id > bindparam("after"))
        .cte("queue", recursive=True)
    )
    following = (
        select(func.min(deliveries.c.endpoint_id))
        .where(waiting, deliveries.c.endpoint_id > queue.c.endpoint_id)
        .scalar_subquery()
    )
    queue = queue.union_all(
        select(following, queue.c.number + 1).where(
            queue.c.endpoint_id.is_not(None),
            queue.c.number < bindparam("most", type_=Integer),
        )
    )
    first = (
        select(deliveries.c.message_id)
        .where(
            deliveries.c.endpoint_id == queue.c.endpoint_id,
            deliveries.c.due_at <= bindparam("now"),
        )
        .order_by(deliveries.c.due_at)
        .limit(1)
        .scalar_subquery()
    )
    environment = (
        select(endpoints.c.environment_id)
        .where(endpoints.c.id == queue.c.endpoint_id)
        .scalar_subquery()
    )
    return select(
        queue.c.endpoint_id, first.label("first"), environment.label("environment")
    ).where(queue.c.endpoint_id.is_not(None))


_QUEUES = Prepared(_select_queues())
