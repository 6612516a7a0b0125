"""A server as a simulated process: the parts that accept and deliver, put together as in serve.py.

`octohooks_server.serve` itself binds them to gRPC, sockets and threads, which have no virtual time.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
)
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_REQUESTED
from octohooks_server.clock import Clock, SteadyClock
from octohooks_server.delivery.loop import Bounds, DeliveryLoop
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.ids import IdFactory
from octohooks_server.store import deliveries, endpoints, outcomes, retirement
from octohooks_server.store.acceptance import Accepted, Draft, accept
from octohooks_server.store.due import Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.simulation.disk import Faults, SimulatedDatabase
from tests.simulation.network import Network, Post, SimulatedSender
from tests.simulation.trace import Trace
from tests.simulation.virtual_time import Process


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What outlives a server process."""

    file: Path
    faults: Faults
    network: Network
    trace: Trace
    wall: Clock
    bounds: Bounds


class SimulatedServer:
    """One process from its start to its end."""

    def __init__(self, name: str, around: Surroundings, random: random.Random) -> None:
        self.name = name
        self.process = Process(name)
        self._around = around
        self._random = random
        self.process.call(self._put_together)
        self._run = self.process.start(self._loop.run())

    def _put_together(self) -> None:
        around = self._around
        elapsed = asyncio.get_running_loop().time
        self.clock = clock = SteadyClock(around.wall, elapsed)
        self.ids = ids = IdFactory(clock, self._random.randbytes)
        self.database = SimulatedDatabase(around.file, around.faults)
        self.sender = SimulatedSender(self.name, around.network, clock)
        group: list[Outcome] = []

        async def write_outcomes(
            conn: AsyncConnection, written: Sequence[Outcome]
        ) -> Sequence[Recorded | OctohooksError]:
            group[:] = written
            return await outcomes.record_outcomes(conn, written, now=clock(), ids=ids)

        async def write_drafts(
            conn: AsyncConnection, drafts: Sequence[Draft]
        ) -> Sequence[Accepted | OctohooksError]:
            return await accept(
                conn,
                drafts,
                now=clock(),
                lease=around.bounds.lease,
                may_claim=self._loop.claim_budget(),
            )

        def hand_over(results: Sequence[Accepted | OctohooksError]) -> None:
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
        self._loop = DeliveryLoop(
            database=self.database,
            outcomes=self._outcomes,
            sender=self.sender,
            feed=Feed(),
            bounds=around.bounds,
            clock=clock,
            random=self._random.random,
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

    async def stop(self, grace: timedelta) -> None:
        """Stops in order; what is not finished within the grace time is cut off."""

        async def in_order() -> None:
            self._loop.stop_claiming()
            await self.acceptances.settle()
            await self._run
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

    def _note(self, outcome: Outcome, result: Recorded) -> None:
        delivery = outcome.delivery
        key = (delivery.message_id, delivery.destination.endpoint_id)
        self._around.trace.add(f"{self.name} records {key[0][-4:]} {key[1][-4:]}: {result}")
        for post in reversed(self._around.network.posts):
            if post.delivery == key and post.clock_at_begin == outcome.started_at:
                if result.applied:
                    post.recorded = asyncio.get_running_loop().time()
                return
