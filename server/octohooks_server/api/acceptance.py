"""The ways into the store for messages, and the hand-over to the delivery loop behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import OctohooksError
from octohooks_server.store.acceptance import Accepted, Draft
from octohooks_server.store.database import Database
from octohooks_server.store.group_commit import GroupCommit

T = TypeVar("T")

Results = Sequence[Accepted | OctohooksError]
AcceptDrafts = Callable[[AsyncConnection, Sequence[Draft]], Awaitable[Results]]


class Acceptance:
    """Accepts messages one by one in shared transactions, or several inside one of the caller's."""

    def __init__(
        self,
        group: GroupCommit[Draft, Accepted],
        accept: AcceptDrafts,
        hand_over: Callable[[Results], None],
    ) -> None:
        """`hand_over` takes the results of `accept` once they are on disk."""
        self._group = group
        self._accept = accept
        self._hand_over = hand_over

    async def accept_one(self, draft: Draft) -> Accepted:
        """Stores a message together with others that arrive at the same time."""
        return await self._group.submit(draft)

    async def in_transaction(
        self, database: Database, work: Callable[[AsyncConnection, AcceptDrafts], Awaitable[T]]
    ) -> T:
        """Runs `work` in a transaction of its own, in which it accepts by the function it is given.

        What it accepted is delivered once the transaction has committed, even when the caller has
        gone away by then.
        """

        async def run() -> T:
            taken: list[Accepted | OctohooksError] = []

            async def accept(conn: AsyncConnection, drafts: Sequence[Draft]) -> Results:
                results = await self._accept(conn, drafts)
                taken.extend(results)
                return results

            async with database.write() as conn:
                answer = await work(conn, accept)
            self._hand_over(taken)
            return answer

        return await asyncio.shield(asyncio.create_task(run()))
