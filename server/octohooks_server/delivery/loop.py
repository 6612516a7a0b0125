"""The delivery loop: claims what is due, has it attempted within bounds, gives back what waits."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.clock import TurnClock
from octohooks_server.delivery.attempts import Attempts, Sends
from octohooks_server.delivery.lanes import Bounds, Lanes
from octohooks_server.delivery.recalls import Recalls
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.outcome import succeeded
from octohooks_server.store import claims
from octohooks_server.store.claims import Claimed
from octohooks_server.store.database import Database
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.due_choice import Choice, DueChooser
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded
from octohooks_server.waiting import wait_at_most

__all__ = ["Bounds", "DeliveryLoop"]

log = structlog.get_logger()

_CLAIM_AT_ONCE = 200
# Between two looks at the database, so that a backlog is taken in groups and not one by one.
_LEAST_SECONDS_BETWEEN_LOOKS = 0.02
# What others left behind, or fell due by a clock that was set, is found after this at the latest.
_MOST_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_AFTER_A_FAILURE = 1.0


class DeliveryLoop:
    """Attempts due deliveries until it is drained, in the order and the bounds of `Lanes`."""

    def __init__(
        self,
        *,
        database: Database,
        outcomes: GroupCommit[Outcome, Recorded],
        sender: Sends,
        feed: Feed,
        bounds: Bounds,
        clock: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        """`clock` decides what is due; `random` in [0, 1) places retries in their jitter."""
        self._database = database
        self._feed = feed
        self._bounds = bounds
        self._clock = clock
        # Asked for once, since Python 3.11 asks the system for the process each time.
        self._event_loop = asyncio.get_running_loop()
        self._time = self._event_loop.time
        turn_clock = TurnClock(clock, self._time)
        self._attempts = Attempts(sender=sender, outcomes=outcomes, clock=turn_clock, random=random)
        self._lanes = Lanes(bounds, clock=turn_clock, begin=self._begin, give_back=self._return)
        self._recalls = Recalls(bounds.lease)
        self._under_way: set[asyncio.Task[None]] = set()
        self._has_backlog = False
        self._chooser = DueChooser()
        self._draining = False
        self._wake = asyncio.Event()
        self._returning: list[DueDelivery] = []
        self._last_look = self._last_turn = self._time()
        # What belongs to the call that led to an attempt does not belong to the attempt.
        self._context = copy_context()

    @property
    def in_flight(self) -> int:
        """How many attempts are under way or not recorded yet."""
        return len(self._under_way)

    @property
    def waiting(self) -> int:
        """How many deliveries that this server has claimed wait in its memory."""
        return self._lanes.waiting

    @property
    def room(self) -> int:
        """How many more deliveries this server may claim."""
        return self._lanes.room

    def claim_budget(self) -> Callable[[str], bool]:
        """Answers, for one transaction, whether one more delivery to an endpoint may be claimed.

        What it says yes to counts at once, although it is handed over only after the commit. It may
        be asked in another thread, since it changes nothing of the loop.
        """
        return self._lanes.budget()

    def take_over(self, claimed: Collection[DueDelivery]) -> Collection[str]:
        """Takes deliveries that another server claimed for whichever has room for them.

        The others are given back; answers the IDs of their endpoints.
        """
        may_claim = self._lanes.budget()
        full: set[str] = set()
        kept: list[DueDelivery] = []
        for delivery in claimed:
            endpoint_id = delivery.destination.endpoint_id
            if may_claim(endpoint_id):
                kept.append(delivery)
            else:
                full.add(endpoint_id)
                self._return([delivery])
        self.hand_over(kept)
        return full

    def hand_over(self, claimed: Collection[DueDelivery]) -> None:
        """Takes deliveries that were claimed for this server."""
        if self._draining:
            self._returning.extend(claimed)
            return
        for delivery in claimed:
            destination = delivery.destination
            # Else its endpoint may have been read before it changed.
            is_current = not self._recalls.came_after(destination.read_at, destination.endpoint_id)
            if not is_current or not self._lanes.put(delivery):
                self._return([delivery])
        self._lanes.start()

    def recall(self, endpoint_ids: Collection[str]) -> None:
        """Gives back what waits for these endpoints, to be claimed anew as they are now."""
        self._recalls.note(endpoint_ids, self._clock())
        for id in endpoint_ids:
            waiting = self._lanes.take_out(id)
            if waiting:
                self._return(waiting)

    def recall_all(self) -> None:
        """Gives back everything that waits."""
        self.recall(self._lanes.endpoint_ids)

    def share_rate_limits(self, servers: int) -> None:
        """Takes this server's part of every rate limit, which so many servers share."""
        self._lanes.share_rate_limits(servers)

    def look(self) -> None:
        """Says that a delivery was made due."""
        self._wake.set()

    def seconds_since_progress(self) -> float:
        """How long ago the loop last looked for due deliveries; a healthy one does every second."""
        return self._time() - self._last_look

    def seconds_since_turn(self) -> float:
        """How long ago the loop last came round, with a look that may have failed."""
        return self._time() - self._last_turn

    async def run(self) -> None:
        """Claims and attempts until `stop_claiming` is called."""
        while not self._draining:
            # Cleared before the look, so that what is signalled during it leads to another.
            self._wake.clear()
            try:
                next_due_at = await self._look()
            except Exception as error:
                expected = isinstance(error, OctohooksError)
                log.error("claiming_failed", exc_info=None if expected else error)
                self._last_turn = self._time()
                await wait_at_most(_SECONDS_AFTER_A_FAILURE, self._wake)
                continue
            self._last_turn = self._last_look
            await asyncio.sleep(_LEAST_SECONDS_BETWEEN_LOOKS)
            await wait_at_most(self._seconds_until(next_due_at), self._wake)

    def stop_claiming(self) -> None:
        """Takes on nothing more; what is under way goes on."""
        self._draining = True
        self._lanes.close()
        self._wake.set()

    async def drain(self, grace: timedelta) -> None:
        """After `stop_claiming`: finishes and records what is under way, gives back the rest.

        What is not finished within `grace` is cut off; it falls due again when its claim ends.
        """
        self.recall_all()
        with suppress(OctohooksError):
            await self._give_back()
        log.info("draining", under_way=len(self._under_way))
        if self._under_way:
            _, cut_off = await asyncio.wait(set(self._under_way), timeout=grace.total_seconds())
            for task in cut_off:
                task.cancel()
            if cut_off:
                log.warning("attempts_cut_off", count=len(cut_off))
                await asyncio.wait(cut_off)

    async def _look(self) -> datetime | None:
        """Claims what there is room for; answers when the next delivery falls due.

        None too where more is due, which is gone on with as places become free.
        """
        await self._give_back()
        now = self._clock()
        room, may_claim = self._lanes.backlog_budget()
        limit = min(_CLAIM_AT_ONCE, room)
        if limit <= 0:
            # Whether more is due is asked once there is room for it.
            self._has_backlog = True
            self._last_look = self._time()
            return None

        async def choose(conn: AsyncConnection) -> tuple[Choice, datetime | None]:
            choice = await self._chooser.choose(conn, now=now, limit=limit, may_claim=may_claim)
            is_done = bool(choice.keys) or choice.has_more
            return choice, None if is_done else await claims.next_due_at(conn)

        async def claim(conn: AsyncConnection) -> tuple[Claimed, datetime | None]:
            claimed = await claims.claim(conn, choice.keys, now=now, lease=self._bounds.lease)
            return claimed, None if choice.has_more else await claims.next_due_at(conn)

        # Chosen before anything is held, since that may take a while behind a backlog.
        choice, next_due_at = await self._database.run_read(choose)
        claimed: Collection[DueDelivery] = ()
        self._has_backlog = choice.has_more
        if choice.keys:
            result, next_due_at = await self._database.run(claim)
            claimed = result.deliveries
            self._feed.announce(result.changed_environments)
            if result.is_partial:
                self._wake.set()
        if choice.has_more_queues:
            self._wake.set()
        self._last_look = self._time()
        self.hand_over(claimed)
        return next_due_at

    async def _give_back(self) -> None:
        if not self._returning:
            return
        returning, self._returning = self._returning, []
        try:
            async with self._database.write() as conn:
                await claims.give_back(conn, returning, due_at=self._clock())
        except OctohooksError:
            self._returning.extend(returning)
            raise

    def _return(self, claimed: Collection[DueDelivery]) -> None:
        """Leaves deliveries to the next look, which gives them back."""
        self._returning.extend(claimed)
        self._has_backlog = True
        self._wake.set()

    def _seconds_until(self, due_at: datetime | None) -> float:
        if due_at is None or self._has_backlog:
            # A backlog is gone on with as places become free.
            return _MOST_SECONDS_BETWEEN_LOOKS
        seconds = (due_at - self._clock()).total_seconds()
        return min(max(seconds, 0.0), _MOST_SECONDS_BETWEEN_LOOKS)

    def _begin(self, delivery: DueDelivery) -> None:
        task = self._event_loop.create_task(self._attempt(delivery), context=self._context.copy())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _attempt(self, delivery: DueDelivery) -> None:
        endpoint_id = delivery.destination.endpoint_id
        holds_place = True
        try:
            exchange = await self._attempts.post(delivery)
            if exchange is not None:
                self._lanes.note(endpoint_id, exchange.duration)
                if succeeded(exchange.status):
                    # Of a failure the endpoint may be disabled, and no other POST be made to it.
                    self._lanes.free_place(endpoint_id)
                    holds_place = False
                recorded = await self._attempts.record(delivery, exchange)
                if recorded.next_due_at is not None:
                    self._wake.set()
        except Exception as error:
            # A defect of ours: the delivery falls due again when its claim ends.
            log.error("attempt_failed_unexpectedly", message=delivery.message_id, exc_info=error)
        finally:
            self._lanes.ended(endpoint_id, holds_place=holds_place)
            if self._has_backlog:
                self._wake.set()
