"""Group commit: pieces of work that arrive together share one transaction.

A durable commit costs the same for one row and for a hundred, so throughput comes from sharing it.
A lone piece is committed at once. While another group is being written, what arrives waits for the
next one; and under load a group lingers a few milliseconds before it is written, since SQLite
commits faster than requests arrive one by one and groups would stay at one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import OctohooksError, ResourceExhausted, Unavailable
from octohooks_server.store.database import Database

Item = TypeVar("Item")
Result = TypeVar("Result")

_LARGEST_GROUP = 200
_LINGER_SECONDS = 0.003

Write = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result | OctohooksError]]]


class GroupCommit(Generic[Item, Result]):
    """Writes items in shared transactions and hands each submitter the result of its own.

    `write` stores a whole group on the connection that it is given and answers one result per item,
    in order; an `OctohooksError` among the results is raised for that item's submitter alone, and
    nothing of that item may have been stored. When `write` raises, the transaction is rolled back
    and each item is tried in one of its own, so that one poisonous item harms no other. A database
    that is away or full is told to all of them.

    `after_commit` is called with the results of a group once it is on disk, whether or not their
    submitters still wait.
    """

    def __init__(
        self,
        database: Database,
        write: Write[Item, Result],
        after_commit: Callable[[Sequence[Result | OctohooksError]], None],
    ) -> None:
        self._database = database
        self._write = write
        self._after_commit = after_commit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Stores an item and returns once it is on disk.

        Cancelled before its group is written, nothing of the item is stored; cancelled later, all
        of it is.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_groups())
        return await future

    async def settle(self) -> None:
        """Returns once everything that was submitted has been written."""
        while self._writer is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._writer)

    async def _write_groups(self) -> None:
        try:
            follows_another = False
            while self._waiting:
                if follows_another and len(self._waiting) < _LARGEST_GROUP:
                    await asyncio.sleep(_LINGER_SECONDS)
                else:
                    # Whatever is ready to run in this turn of the loop may still join.
                    await asyncio.sleep(0)
                group = [entry for entry in self._waiting[:_LARGEST_GROUP] if not entry[1].done()]
                del self._waiting[:_LARGEST_GROUP]
                if group:
                    await self._write_group(group)
                follows_another = len(group) > 1
        finally:
            self._writer = None

    async def _write_group(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            async with self._database.write() as conn:
                results = await self._write(conn, [item for item, _ in group])
        except Exception as error:
            if len(group) == 1 or isinstance(error, Unavailable | ResourceExhausted):
                results = [error] * len(group)  # type: ignore[list-item]
            else:
                for entry in group:
                    await self._write_group([entry])
                return
        else:
            self._after_commit(results)
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
