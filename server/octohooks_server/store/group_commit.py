"""Group commit: pieces of work that arrive together share one transaction.

A durable commit costs the same for one row and for a hundred, so throughput comes from sharing it.
A lone piece is committed at once. While another group is being written, what arrives waits for the
next one; and under load a group lingers a few milliseconds before it is written, since a database
commits faster than requests arrive one by one and groups would stay small. It lingers for no longer
than until as many have come as are to be expected.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import OctohooksError, ResourceExhausted, Unavailable
from octohooks_server.store.database import Database
from octohooks_server.waiting import wait_at_most

Item = TypeVar("Item")
Result = TypeVar("Result")

_LARGEST_GROUP = 200
# As long as it takes for what was answered to be followed by the next, when the server does all it
# can. With less, groups begin with the few that have come meanwhile, and a small one costs the
# database almost as much as a large one.
_LINGER_SECONDS = 0.012
# As many are expected as after one of so many groups before: those that were answered come again,
# and those that waited meanwhile are there.
_GROUPS_REMEMBERED = 8

Write = Callable[
    [AsyncConnection, Sequence[Item]], Coroutine[Any, Any, Sequence[Result | OctohooksError]]
]
# Told about a group: its items, the result of each, and how many seconds its transaction took.
Observe = Callable[[Sequence[Item], Sequence[Result | Exception], float], None]


def _unobserved(*_: object) -> None:
    """What tells nobody."""


class GroupCommit(Generic[Item, Result]):
    """Writes items in shared transactions and hands each submitter the result of its own.

    `write` stores a whole group on the connection that it is given and answers one result per item,
    in order; an `OctohooksError` among the results is raised for that item's submitter alone, and
    nothing of that item may have been stored. When `write` raises, the transaction is rolled back
    and each item is tried in one of its own, so that one poisonous item harms no other. A database
    that is away or full is told to all of them.

    `makes_one_change` says of a group that `write` changes things by one statement for it. `coming`
    answers how many items may be submitted soon at the most, with those that were and wait.

    `after_commit` is called with the results of a group once it is on disk, whether or not their
    submitters still wait. `observe` is told about every group, on disk or not. `on_defect` is told
    when writing has ended for a reason that is none of the database's; what waits then waits until
    something else is submitted.
    """

    def __init__(
        self,
        database: Database,
        write: Write[Item, Result],
        after_commit: Callable[[Sequence[Result | OctohooksError]], None],
        *,
        makes_one_change: Callable[[Sequence[Item]], bool] = lambda _: False,
        coming: Callable[[], int] = lambda: 0,
        observe: Observe[Item, Result] = _unobserved,
        on_defect: Callable[[BaseException], None] = _unobserved,
    ) -> None:
        self._database = database
        self._write = write
        self._after_commit = after_commit
        self._makes_one_change = makes_one_change
        self._coming = coming
        self._observe = observe
        self._on_defect = on_defect
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None
        # What belongs to the call that a group began with belongs to none of the others.
        self._context = copy_context()
        # Asked for once, since Python 3.11 asks the system for the process each time.
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._last_progress = self._time()
        # After each of the last groups, how many had been in it or waited; and until when what
        # comes belongs to the same load.
        self._crowds: deque[int] = deque(maxlen=_GROUPS_REMEMBERED)
        self._load_ends = self._last_progress
        # How many the group that lingers waits for, and whether they have come.
        self._expected = 0
        self._have_come = asyncio.Event()

    async def submit(self, item: Item) -> Result:
        """Stores an item and returns once it is on disk.

        Cancelled before its group is written, nothing of the item is stored; cancelled later, all
        of it is.
        """
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((item, future))
        if len(self._waiting) >= self._expected:
            self._have_come.set()
        if self._writer is None:
            self._last_progress = self._time()
            self._writer = self._loop.create_task(
                self._write_groups(), context=self._context.copy()
            )
            self._writer.add_done_callback(self._ended)
        return await future

    def seconds_since_progress(self) -> float:
        """For how long something has waited without any group being written."""
        is_idle = self._writer is None and not self._waiting
        return 0.0 if is_idle else self._time() - self._last_progress

    async def settle(self) -> None:
        """Returns once everything that was submitted has been written."""
        while self._writer is not None:
            # However it ends; a defect is told to whoever it concerns.
            await asyncio.wait([self._writer])

    async def _write_groups(self) -> None:
        try:
            while self._waiting:
                await self._linger()
                group = [entry for entry in self._waiting[:_LARGEST_GROUP] if not entry[1].done()]
                del self._waiting[:_LARGEST_GROUP]
                if group:
                    await self._write_group(group)
                self._crowds.append(len(group) + len(self._waiting))
                if len(group) > 1:
                    self._load_ends = self._time() + _LINGER_SECONDS
        finally:
            self._writer = None

    async def _linger(self) -> None:
        """Waits a moment for those that are expected to come."""
        # Whatever is ready to run in this turn of the loop may still join, and what was just
        # answered goes its way.
        await asyncio.sleep(0)
        if self._time() >= self._load_ends:
            self._crowds.clear()
        expected = max(self._coming(), *self._crowds, 0)
        self._expected = min(expected, _LARGEST_GROUP)
        if len(self._waiting) < self._expected:
            self._have_come.clear()
            await wait_at_most(_LINGER_SECONDS, self._have_come)

    def _ended(self, writer: asyncio.Task[None]) -> None:
        error = None if writer.cancelled() else writer.exception()
        if error is not None:
            self._on_defect(error)

    async def _write_group(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        items = [item for item, _ in group]
        results: Sequence[Result | Exception]
        began = self._time()
        try:
            is_one = self._makes_one_change(items)
            run = self._database.run_one_change if is_one else self._database.run
            results = stored = await run(lambda conn: self._write(conn, items))
        except Exception as error:
            if len(group) > 1 and not isinstance(error, Unavailable | ResourceExhausted):
                for entry in group:
                    await self._write_group([entry])
                return
            results, stored = [error] * len(group), ()
        self._last_progress = self._time()
        try:
            if stored:
                self._after_commit(stored)
            self._observe(items, results, self._last_progress - began)
        finally:
            # It is on disk, or is not, whatever becomes of the rest.
            _answer(group, results)


def _answer(
    group: Sequence[tuple[Item, asyncio.Future[Result]]], results: Sequence[Result | Exception]
) -> None:
    """Tells each submitter the result of its own item."""
    for (_, future), result in zip(group, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
