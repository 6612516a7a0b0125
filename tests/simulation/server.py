"""A server as a simulated process: the parts that accept and deliver, put together as in serve.py.

`octohooks_server.serve` itself binds them to gRPC, sockets and threads, which have no virtual time.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
)
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_REQUESTED
from octohooks_server.clock import Clock, SteadyClock
from octohooks_server.delivery.handing_over import HandingOver
from octohooks_server.delivery.loop import Bounds, DeliveryLoop
from octohooks_server.delivery.taking_over import TakingOver
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.ids import IdFactory
from octohooks_server.store import deliveries, endpoints, outcomes, retirement
from octohooks_server.store.acceptance import Accepted, Draft, accept
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.simulation.disk import Faults, SimulatedDatabase
from tests.simulation.network import Network, Post, SimulatedSender
from tests.simulation.trace import Trace
from tests.simulation.virtual_time import Process

_MOST_SECONDS_OF_TELLING = 0.01


class Relay:
    """Carries what servers tell each other; where the database fails, it is lost."""

    def __init__(
        self, servers: Sequence["SimulatedServer"], faults: Faults, random: random.Random
    ) -> None:
        """`servers` are those that run, at any time."""
        self._servers = servers
        self._faults = faults
        self._random = random

    def tell(self, hear: Callable[["SimulatedServer"], None]) -> None:
        """Calls `hear` with every server soon, also with the one that tells it."""
        for server in self._servers:
            if not self._loses():
                seconds = self._random.random() * _MOST_SECONDS_OF_TELLING
                server.process.call_later(seconds, partial(hear, server))

    def _loses(self) -> bool:
        is_away = asyncio.get_running_loop().time() < self._faults.away_until
        return is_away or self._random.random() < self._faults.error_rate


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What outlives a server process."""

    file: Path
    faults: Faults
    network: Network
    trace: Trace
    wall: Clock
    bounds: Bounds
    relay: Relay
    # Whether servers leave what they accept to whichever takes it over.
    hands_over: bool


class SimulatedServer:
    """One process from its start to its end."""

    def __init__(self, name: str, around: Surroundings, random: random.Random) -> None:
        self.name = name
        self.process = Process(name)
        self._around = around
        self._random = random
        # How many deliveries it got that were accepted for whichever server takes them.
        self.taken_over = 0
        self.process.call(self._put_together)
        working = [self._loop.run()]
        if around.hands_over:
            working.append(self.taking_over.run())
        self._working = [self.process.start(work) for work in working]

    def _put_together(self) -> None:
        around = self._around
        elapsed = asyncio.get_running_loop().time
        self.clock = clock = SteadyClock(around.wall, elapsed)
        self.ids = ids = IdFactory(clock, self._random.randbytes)
        self.database = SimulatedDatabase(around.file, around.faults)
        self.sender = SimulatedSender(self.name, around.network, clock)
        # In serve.py only servers of different roles have one or the other; here each has both.
        self.handing_over = HandingOver(elapsed, self._tell_hand_overs)
        group: list[Outcome] = []

        async def write_outcomes(
            conn: AsyncConnection, written: Sequence[Outcome]
        ) -> Sequence[Recorded | OctohooksError]:
            group[:] = written
            return await outcomes.record_outcomes(conn, written, now=clock(), ids=ids)

        async def write_drafts(
            conn: AsyncConnection, drafts: Sequence[Draft]
        ) -> Sequence[Accepted | OctohooksError]:
            hands_over = around.hands_over
            budget = self.handing_over.budget() if hands_over else self._loop.claim_budget()
            return await accept(
                conn,
                drafts,
                now=clock(),
                lease=around.bounds.lease,
                may_claim=budget,
                hands_over=hands_over,
            )

        def hand_over(results: Sequence[Accepted | OctohooksError]) -> None:
            if around.hands_over:
                self._leave(results)
                return
            for result in results:
                if isinstance(result, Accepted) and result.claimed:
                    self._loop.hand_over(result.claimed)

        def note(results: Sequence[Recorded | OctohooksError]) -> None:
            for outcome, result in zip(group, results, strict=True):
                if isinstance(result, Recorded):
                    self._note(outcome, result)
            if any(isinstance(one, Recorded) and one.notified for one in results):
                self._loop.look()

        self.acceptances: GroupCommit[Draft, Accepted] = GroupCommit(
            self.database, write_drafts, hand_over
        )
        self._outcomes: GroupCommit[Outcome, Recorded] = GroupCommit(
            self.database, write_outcomes, note
        )
        self._loop = _Loop(
            self._note_taken,
            database=self.database,
            outcomes=self._outcomes,
            sender=self.sender,
            feed=Feed(),
            bounds=around.bounds,
            clock=clock,
            random=self._random.random,
        )
        self.taking_over = TakingOver(
            self.database, loop=self._loop, clock=clock, offer=self._tell_offer
        )

    def open_posts(self) -> list[Post]:
        """Those that it made and whose attempts it has not recorded."""
        return [
            post
            for post in self._around.network.posts
            if post.server == self.name and post.recorded is None
        ]

    async def disable(self, environment_id: str, endpoint_id: str) -> None:
        """As the call that disables an endpoint."""
        now = self.clock()
        async with self.database.write() as conn:
            await endpoints.disable(
                conn,
                environment_id=environment_id,
                id=endpoint_id,
                reason=DISABLE_REASON_REQUESTED,
                now=now,
            )
            await retirement.retire(
                conn,
                environment_id=environment_id,
                endpoint_id=endpoint_id,
                reason=CANCEL_REASON_ENDPOINT_DISABLED,
                now=now,
            )
        self._loop.recall([endpoint_id])

    async def delete(self, environment_id: str, endpoint_id: str) -> None:
        """As the call that deletes an endpoint."""
        now = self.clock()
        async with self.database.write() as conn:
            await endpoints.mark_deleted(conn, id=endpoint_id, now=now)
            await retirement.retire(
                conn,
                environment_id=environment_id,
                endpoint_id=endpoint_id,
                reason=CANCEL_REASON_ENDPOINT_DELETED,
                now=now,
            )
        self._loop.recall([endpoint_id])

    async def resend(
        self, environment_id: str, application_id: str, message_id: str, endpoint_id: str
    ) -> bool:
        """As the call that asks for an attempt; False when the endpoint gets none any more."""
        async with self.database.write() as conn:
            endpoint = await endpoints.find(
                conn, application_id=application_id, reference=endpoint_id
            )
            if endpoint is None or endpoint.disabled:
                return False
            await deliveries.request_attempt(
                conn,
                environment_id=environment_id,
                message_id=message_id,
                endpoint_id=endpoint_id,
                now=self.clock(),
            )
        self._loop.look()
        return True

    def look_for_due(self) -> None:
        """As what another server tells that has left something due."""
        self._loop.look()

    async def stop(self, grace: timedelta) -> None:
        """Stops in order; what is not finished within the grace time is cut off."""

        async def in_order() -> None:
            self._loop.stop_claiming()
            self.taking_over.stop()
            await self.acceptances.settle()
            await asyncio.gather(*self._working)
            await self._loop.drain(grace)
            await self._outcomes.settle()
            await self.database.close()

        await self.process.start(in_order())
        self.process.kill()
        self.database.break_off()
        for post in self.open_posts():
            post.excuses.add("cut off")

    def crash(self) -> None:
        """Ends at once, in the middle of whatever it does."""
        self.process.kill()
        self.database.break_off()
        for post in self.open_posts():
            post.excuses.add("crash")
            if post.ended is None:
                # The connection is gone, and with it the request.
                post.ended = asyncio.get_running_loop().time()

    def pause(self) -> None:
        """Stands still until `process.go_on`."""
        self.process.pause()
        for post in self.open_posts():
            post.excuses.add("pause")

    def _leave(self, results: Sequence[Accepted | OctohooksError]) -> None:
        """Lets others look for what was accepted, now that it is on disk."""
        accepted = [one for one in results if isinstance(one, Accepted)]
        self._around.trace.add(
            f"{self.name} leaves {sum(len(one.claimed) for one in accepted)} to others"
        )
        self.handing_over.left(results)
        if any(one.left_due for one in accepted):
            self._around.relay.tell(SimulatedServer.look_for_due)

    def _tell_hand_overs(self) -> None:
        self._around.relay.tell(lambda server: server.taking_over.look())

    def _tell_offer(self, full: Collection[str]) -> None:
        self._around.relay.tell(lambda server: server.handing_over.hear_offer(full))

    def _note_taken(self, taken: Collection[DueDelivery]) -> None:
        self.taken_over += len(taken)
        self._around.trace.add(f"{self.name} takes over {len(taken)}")

    def _note(self, outcome: Outcome, result: Recorded) -> None:
        delivery = outcome.delivery
        key = (delivery.message_id, delivery.destination.endpoint_id)
        self._around.trace.add(f"{self.name} records {key[0][-4:]} {key[1][-4:]}: {result}")
        for post in reversed(self._around.network.posts):
            if post.delivery == key and post.clock_at_begin == outcome.started_at:
                if result.applied:
                    post.recorded = asyncio.get_running_loop().time()
                return


class _Loop(DeliveryLoop):
    """The delivery loop, which says what it takes over."""

    def __init__(self, note: Callable[[Collection[DueDelivery]], None], **others: Any) -> None:
        super().__init__(**others)
        self._note_taken = note

    def take_over(self, claimed: Collection[DueDelivery]) -> Collection[str]:
        """See `DeliveryLoop.take_over`."""
        if claimed:
            self._note_taken(claimed)
        return super().take_over(claimed)
