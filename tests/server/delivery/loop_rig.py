"""A delivery loop over a real database, with a sender that does what the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks_server.delivery.exchange import Exchange
from octohooks_server.delivery.loop import Bounds, DeliveryLoop
from octohooks_server.errors import OctohooksError, Unavailable
from octohooks_server.rules.schedule import NO_JITTER
from octohooks_server.rules.signing import SigningKey
from octohooks_server.store.acceptance import Accepted, Draft, accept
from octohooks_server.store.database import Database
from octohooks_server.store.database.base import T, Work
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded, record_outcomes
from octohooks_server.store.tables import deliveries
from sqlalchemy import func, select
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.server.store.world import LEASE, World

TIMEOUT = timedelta(seconds=15)


class Post:
    """One attempt under way, which the test answers."""

    def __init__(self, url: str, message_id: str, body: bytes, started_at: datetime) -> None:
        self.url = url
        self.message_id = message_id
        self.body = body
        self.started_at = started_at
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def answer(self, status: int = 200) -> None:
        """Ends the attempt with this status; 0 means that no response came."""
        self.answered.set_result(status)

    def break_down(self, error: Exception) -> None:
        """Lets the sender raise, as only a defect does."""
        self.answered.set_exception(error)


class ScriptedSender:
    """Posts nothing: hands each attempt to the test and counts how many are under way."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._arrived: asyncio.Queue[Post] = asyncio.Queue()
        self.posts: list[Post] = []
        self.under_way: Counter[str] = Counter()
        self.most_under_way: Counter[str] = Counter()
        self.most_under_way_in_total = 0

    async def next_post(self) -> Post:
        """The next attempt that was not taken yet; waits for it."""
        return await self._arrived.get()

    async def next_post_to(self, url: str) -> Post:
        """The next attempt at this URL; others are left unanswered."""
        while (post := await self.next_post()).url != url:
            pass
        return post

    async def next_posts(self, count: int) -> list[Post]:
        """The next attempts; waits for them."""
        return [await self.next_post() for _ in range(count)]

    async def answer_all(self, count: int, status: int = 200) -> list[Post]:
        """Answers as many attempts as this, each when it comes."""
        posts = []
        for _ in range(count):
            post = await self.next_post()
            post.answer(status)
            posts.append(post)
        return posts

    async def send(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        message_id: str,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> Exchange:
        """What the loop calls."""
        assert keys, "nothing is sent unsigned"
        post = Post(url, message_id, body, self._clock())
        self.posts.append(post)
        self.under_way[url] += 1
        self.most_under_way |= self.under_way
        self.most_under_way_in_total = max(self.most_under_way_in_total, self.under_way.total())
        self._arrived.put_nowait(post)
        try:
            status = await post.answered
        finally:
            self.under_way[url] -= 1
        failed = not 200 <= status <= 299
        return Exchange(
            started_at=post.started_at,
            duration=self._clock() - post.started_at,
            status=status,
            headers=(),
            body=b"",
            truncated=False,
            error_kind=ErrorKind.ERROR_KIND_HTTP_STATUS if failed else ErrorKind.Value(_NO_ERROR),
            error_detail="It failed." if failed else "",
        )


_NO_ERROR = "ERROR_KIND_UNSPECIFIED"


class FlakyDatabase(Database):
    """A real database that is away whenever the test says so."""

    def __init__(self, real: Database) -> None:
        self._real = real
        self.away = False
        self.refusals = 0

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        self._refuse()
        async with self._real.write() as conn:
            yield conn

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        self._refuse()
        async with self._real.read() as conn:
            yield conn

    async def run(self, work: Work[T]) -> T:
        self._refuse()
        return await self._real.run(work)

    async def run_one_change(self, work: Work[T]) -> T:
        self._refuse()
        return await self._real.run_one_change(work)

    async def warm_up(self) -> None:
        await self._real.warm_up()

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        await self._real.run_migration(migrate)

    async def close(self) -> None:
        await self._real.close()

    def _refuse(self) -> None:
        if self.away:
            self.refusals += 1
            raise Unavailable("The database is away.")


class LoopRig:
    """A loop with all that it works on."""

    def __init__(self, world: World, database: Database, bounds: Bounds) -> None:
        self.world = world
        self.sender = ScriptedSender(world.clock)
        self.outcomes: GroupCommit[Outcome, Recorded] = GroupCommit(
            database, self._write_outcomes, self._note_recorded
        )
        self.loop = DeliveryLoop(
            database=database,
            outcomes=self.outcomes,
            sender=self.sender,
            feed=Feed(),
            bounds=bounds,
            clock=world.clock,
            random=lambda: NO_JITTER,
        )
        self._recorded: asyncio.Queue[Recorded | OctohooksError] = asyncio.Queue()
        self.recordings = 0
        # What has been recorded, in order.
        self.outcomes_written: list[Outcome] = []

    async def _write_outcomes(
        self, conn: AsyncConnection, outcomes: Sequence[Outcome]
    ) -> Sequence[Recorded | OctohooksError]:
        self.recordings += 1
        self.outcomes_written += outcomes
        return await record_outcomes(conn, outcomes, now=self.world.now, ids=self.world.ids)

    def _note_recorded(self, results: Sequence[Recorded | OctohooksError]) -> None:
        for result in results:
            self._recorded.put_nowait(result)

    async def recorded(self, count: int = 1) -> list[Recorded | OctohooksError]:
        """Waits until so many more outcomes are on disk."""
        return [await self._recorded.get() for _ in range(count)]

    async def accept_and_hand_over(self, *drafts: Draft) -> list[DueDelivery]:
        """Accepts in one transaction as the server does; answers what it claimed."""
        world = self.world
        async with world.database.write() as conn:
            results = await accept(
                conn, drafts, now=world.now, lease=LEASE, may_claim=self.loop.claim_budget()
            )
        claimed = [one for result in results for one in _claimed(result)]
        self.loop.hand_over(claimed)
        if any(isinstance(result, Accepted) and result.left_due for result in results):
            self.loop.look()
        return claimed

    async def claimed_count(self) -> int:
        """How many deliveries are claimed at this moment, by what is stored."""
        (row,) = await self.world.execute(
            select(func.count().label("n")).where(deliveries.c.leased)
        )
        return int(row["n"])


def _claimed(result: Accepted | OctohooksError) -> Sequence[DueDelivery]:
    assert isinstance(result, Accepted)
    return result.claimed


@asynccontextmanager
async def running_loop(
    world: World, *, database: Database | None = None, **bounds: Any
) -> AsyncIterator[LoopRig]:
    """A loop that runs while the block does; `bounds` replace the usual ones."""
    usual = {
        "lease": LEASE,
        "request_timeout": TIMEOUT,
        "max_in_flight": 100,
        "max_in_flight_per_endpoint": 10,
    }
    rig = LoopRig(world, database or world.database, Bounds(**{**usual, **bounds}))
    task = asyncio.create_task(rig.loop.run())
    try:
        yield rig
    finally:
        rig.loop.stop_claiming()
        await task
        await rig.loop.drain(timedelta(0))
        await rig.outcomes.settle()
