"""The delivery loop: claims what is due, attempts it within bounds, records what came of it."""

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from octohooks_server.delivery.exchange import Exchange
from octohooks_server.delivery.judge import outcome_of
from octohooks_server.delivery.keys import live_keys
from octohooks_server.delivery.pacing import Pacer, Pacers
from octohooks_server.delivery.places import Places, Quick
from octohooks_server.errors import OctohooksError, ResourceExhausted, Unavailable
from octohooks_server.rules.signing import SigningKey
from octohooks_server.store import deliveries
from octohooks_server.store.database import Database
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded

log = structlog.get_logger()

_CLAIM_AT_ONCE = 200
# Between two looks at the database, so that a backlog is taken in groups and not one by one.
_LEAST_SECONDS_BETWEEN_LOOKS = 0.02
# What others left behind, or fell due by a clock that was set, is found after this at the latest.
_MOST_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_AFTER_A_FAILURE = 1.0
# Under a rate limit, no more is held in memory than may start within this time.
_PACED_SECONDS = 2.0
# For each attempt that may be under way, at an endpoint and in total, how many more may wait in
# memory: enough that an endpoint is kept busy between two looks.
_WAITING_PER_PLACE = 5
_WAITING_PER_PLACE_IN_TOTAL = 1
# Of what may wait in memory, one in so many is kept for what is accepted from now on, so that it
# does not queue up behind a backlog in the database.
_KEPT_FOR_ACCEPTED = 4
# Of what may still be claimed, one in so many goes to one endpoint in one look.
_LARGEST_SHARE = 8
_MOST_REMEMBERED = 100_000
# An attempt that holds its place for as long as this, or half of the timeout, is not quick. A name
# that cannot be looked up, and an answer that comes late, take up places like one that never comes.
_SLOW_FROM = timedelta(seconds=2)


class Sends(Protocol):
    """What makes one attempt; `delivery.sender.Sender` is the real one."""

    async def send(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        message_id: str,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> Exchange:
        """Makes one attempt; whatever the receiver does is a value."""
        ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A claimed delivery, and the rate limits under which it waits for its attempt."""

    delivery: DueDelivery
    pacers: Sequence[Pacer]


@dataclass(slots=True)
class _Lane:
    """What this server has claimed of one endpoint's deliveries."""

    quick: Quick
    waiting: deque[_Waiting] = field(default_factory=deque)
    under_way: int = 0
    # Whether it stands in the row of lanes that can start an attempt.
    in_row: bool = False
    # Wakes it when its rate limit lets the next one start.
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the loop does at once."""

    lease: timedelta
    request_timeout: timedelta
    max_in_flight: int
    max_in_flight_per_endpoint: int


class DeliveryLoop:
    """Attempts due deliveries until it is drained.

    Concurrency is bounded in total and for each endpoint, and so is what waits in memory; the rest
    waits in the database. Lanes take turns, and a lane takes no more than it leaves for others.
    Endpoints that are not known to be quick may take a part of the places only (`Places`).
    """

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
        self._outcomes = outcomes
        self._sender = sender
        self._feed = feed
        self._bounds = bounds
        self._clock = clock
        self._random = random
        self._pacers = Pacers()
        self._quick: OrderedDict[str, bool] = OrderedDict()
        # What is under way, and that together with what waits.
        self._attempts = Places(bounds.max_in_flight)
        self._slow_from = min(_SLOW_FROM, bounds.request_timeout / 2)
        self._claims = Places(bounds.max_in_flight * (1 + _WAITING_PER_PLACE_IN_TOTAL))
        self._lanes: dict[str, _Lane] = {}
        self._row: deque[str] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._has_backlog = False
        self._draining = False
        self._wake = asyncio.Event()
        self._returning: list[DueDelivery] = []
        # When endpoints were recalled lately, the longest ago first.
        self._recalled_at: OrderedDict[str, datetime] = OrderedDict()
        self._last_look = asyncio.get_running_loop().time()

    def claim_budget(self) -> Callable[[str], bool]:
        """Answers, for one transaction, whether one more delivery to an endpoint may be claimed.

        What it says yes to counts at once, although it is handed over only after the commit.
        """
        claims = self._claims.part(0)
        taken: dict[str, int] = {}

        def may_claim(endpoint_id: str) -> bool:
            more = taken.get(endpoint_id, 0)
            if self._room(endpoint_id, claims, more) <= 0:
                return False
            taken[endpoint_id] = more + 1
            claims.take(self._is_quick(endpoint_id))
            return True

        return may_claim

    def hand_over(self, claimed: Collection[DueDelivery]) -> None:
        """Takes deliveries that were claimed for this server."""
        if self._draining:
            self._returning.extend(claimed)
            return
        for delivery in claimed:
            endpoint_id = delivery.destination.endpoint_id
            if self._was_recalled_since(delivery):
                self._return([delivery])
                continue
            pacers = self._pacers.of(delivery.destination)
            if pacers and self._paced_room(endpoint_id) <= 0:
                self._return([delivery])
                continue
            lane = self._lanes.get(endpoint_id)
            if lane is None:
                lane = self._lanes[endpoint_id] = _Lane(self._quick.get(endpoint_id))
            lane.waiting.append(_Waiting(delivery, pacers))
            for pacer in pacers:
                pacer.waiting += 1
            self._claims.take(lane.quick)
            self._line_up(endpoint_id, lane)
        self._start_attempts()

    def recall(self, endpoint_ids: Collection[str]) -> None:
        """Gives back what waits for these endpoints, to be claimed anew as they are now."""
        now = self._clock()
        for id in endpoint_ids:
            self._recalled_at[id] = now
            self._recalled_at.move_to_end(id)
            lane = self._lanes.get(id)
            if lane is not None and lane.waiting:
                self._return([self._take_next(lane) for _ in range(len(lane.waiting))])
                self._settle(id, lane)

    def _was_recalled_since(self, delivery: DueDelivery) -> bool:
        """Whether its endpoint changed while it was being claimed, perhaps after it was read."""
        began_at = delivery.lease_ends_at - self._bounds.lease
        while self._recalled_at:
            id, at = next(iter(self._recalled_at.items()))
            if at > self._clock() - self._bounds.lease:
                break
            del self._recalled_at[id]
        recalled_at = self._recalled_at.get(delivery.destination.endpoint_id)
        return recalled_at is not None and recalled_at > began_at

    def recall_all(self) -> None:
        """Gives back everything that waits."""
        self.recall(list(self._lanes))

    def look(self) -> None:
        """Says that a delivery was made due."""
        self._wake.set()

    def seconds_since_progress(self) -> float:
        """How long ago the loop last looked for due deliveries; a healthy one does every second."""
        return asyncio.get_running_loop().time() - self._last_look

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
                await self._wait(_SECONDS_AFTER_A_FAILURE)
                continue
            await asyncio.sleep(_LEAST_SECONDS_BETWEEN_LOOKS)
            await self._wait(self._seconds_until(next_due_at))

    def stop_claiming(self) -> None:
        """Takes on nothing more; what is under way goes on."""
        self._draining = True
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
        """Claims what there is room for; answers when the next delivery falls due."""
        await self._give_back()
        now = self._clock()
        claims = self._claims_from_backlog()
        limit = min(_CLAIM_AT_ONCE, claims.free(True))
        claimed: Collection[DueDelivery] = ()
        async with self._database.read() as conn:
            next_due_at = await deliveries.next_due_at(conn)
        if limit > 0 and next_due_at is not None and next_due_at <= now:
            async with self._database.write() as conn:
                result = await deliveries.claim_due(
                    conn,
                    now=now,
                    limit=limit,
                    lease=self._bounds.lease,
                    room=self._claim_rooms(claims),
                )
                next_due_at = await deliveries.next_due_at(conn)
            claimed = result.deliveries
            self._has_backlog = result.has_more
            self._feed.announce(result.changed_environments)
        else:
            self._has_backlog = next_due_at is not None and next_due_at <= now
        self._last_look = asyncio.get_running_loop().time()
        self.hand_over(claimed)
        return next_due_at

    async def _give_back(self) -> None:
        if not self._returning:
            return
        returning, self._returning = self._returning, []
        try:
            async with self._database.write() as conn:
                await deliveries.give_back(conn, returning, due_at=self._clock())
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

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _claims_from_backlog(self) -> Places:
        """What may be claimed of what waits in the database."""
        return self._claims.part(self._claims.total // _KEPT_FOR_ACCEPTED)

    def _claim_rooms(self, claims: Places) -> Callable[[str], int]:
        """Answers, for one claim, how many deliveries of an endpoint to take; asked once each."""

        def room(endpoint_id: str) -> int:
            room = max(self._room(endpoint_id, claims, 0), 0)
            claims.take(self._is_quick(endpoint_id), room)
            return room

        return room

    def _room(self, endpoint_id: str, claims: Places, more: int) -> int:
        """How many deliveries of an endpoint may be claimed, of which `more` were just now.

        An endpoint gets a part of the `claims` that are free at a time, and never more than is left
        for others.
        """
        if self._draining:
            return 0
        most = self._bounds.max_in_flight_per_endpoint * (1 + _WAITING_PER_PLACE)
        lane = self._lanes.get(endpoint_id)
        taken = more if lane is None else more + lane.under_way + len(lane.waiting)
        free = claims.free(self._is_quick(endpoint_id))
        if taken >= free:
            return 0
        share = max(min(free // _LARGEST_SHARE, (free - taken) // 2), 1)
        return min(most - taken, self._paced_room(endpoint_id) - more, share)

    def _paced_room(self, endpoint_id: str) -> int:
        """How many more may wait in memory under the endpoint's rate limits."""
        now = asyncio.get_running_loop().time()
        pacers = self._pacers.known_of(endpoint_id)
        rooms = (pacer.fits(now, _PACED_SECONDS) - pacer.waiting for pacer in pacers)
        return min(rooms, default=sys.maxsize)

    def _take_next(self, lane: _Lane) -> DueDelivery:
        """Takes the next delivery out of a lane; it is no longer held by this server."""
        waiting = lane.waiting.popleft()
        for pacer in waiting.pacers:
            pacer.waiting -= 1
        self._claims.take(lane.quick, -1)
        return waiting.delivery

    def _return_outlived(self, lane: _Lane) -> None:
        """Gives back what waited so long that its claim could end during an attempt."""
        latest = self._clock() + self._bounds.request_timeout
        while lane.waiting and lane.waiting[0].delivery.lease_ends_at <= latest:
            self._return([self._take_next(lane)])

    def _is_quick(self, endpoint_id: str) -> Quick:
        """How an endpoint's claims are counted."""
        lane = self._lanes.get(endpoint_id)
        return self._quick.get(endpoint_id) if lane is None else lane.quick

    def _line_up(self, endpoint_id: str, lane: _Lane) -> None:
        """Puts a lane that can start an attempt behind the others."""
        can_start = lane.waiting and lane.under_way < self._bounds.max_in_flight_per_endpoint
        if can_start and not lane.in_row and lane.timer is None:
            lane.in_row = True
            self._row.append(endpoint_id)

    def _settle(self, endpoint_id: str, lane: _Lane) -> None:
        """Lines a lane up again, or forgets it when nothing is left in it."""
        self._line_up(endpoint_id, lane)
        if not lane.under_way and not lane.waiting and not lane.in_row:
            if lane.timer is not None:
                lane.timer.cancel()
            del self._lanes[endpoint_id]

    def _held_by_rate(self, endpoint_id: str, lane: _Lane) -> bool:
        """Takes a start from the lane's rate limits, or lets the lane wait until there is one."""
        pacers = lane.waiting[0].pacers
        if not pacers:
            return False
        loop = asyncio.get_running_loop()
        now = loop.time()
        start_at = max(pacer.earliest(now) for pacer in pacers)
        if start_at <= now:
            for pacer in pacers:
                pacer.take(now)
            return False

        def wake() -> None:
            lane.timer = None
            self._settle(endpoint_id, lane)
            self._start_attempts()

        lane.timer = loop.call_at(start_at, wake)
        return True

    def _start_attempts(self) -> None:
        # Each lane is asked once a round; a round in which none can start ends it.
        skipped = 0
        while skipped < len(self._row) and len(self._under_way) < self._bounds.max_in_flight:
            endpoint_id = self._row.popleft()
            lane = self._lanes[endpoint_id]
            lane.in_row = False
            self._return_outlived(lane)
            # A lane has no more attempts under way than there are places left for others like it.
            if lane.waiting and lane.under_way >= self._attempts.free(lane.quick):
                lane.in_row = True
                self._row.append(endpoint_id)
                skipped += 1
                continue
            skipped = 0
            if lane.waiting and not self._held_by_rate(endpoint_id, lane):
                delivery = self._take_next(lane)
                self._claims.take(lane.quick)
                self._attempts.take(lane.quick)
                lane.under_way += 1
                task = asyncio.create_task(self._attempt(delivery))
                self._under_way.add(task)
                task.add_done_callback(self._ended(endpoint_id, lane))
            self._settle(endpoint_id, lane)

    def _note(self, endpoint_id: str, exchange: Exchange) -> None:
        """Remembers whether the endpoint's last attempt was quick, whatever came of it."""
        quick = exchange.duration < self._slow_from
        self._quick[endpoint_id] = quick
        self._quick.move_to_end(endpoint_id)
        if len(self._quick) > _MOST_REMEMBERED:
            self._quick.popitem(last=False)
        lane = self._lanes[endpoint_id]
        if lane.quick is not quick:
            for places, count in (
                (self._attempts, lane.under_way),
                (self._claims, lane.under_way + len(lane.waiting)),
            ):
                places.take(lane.quick, -count)
                places.take(quick, count)
            lane.quick = quick

    def _ended(self, endpoint_id: str, lane: _Lane) -> Callable[[asyncio.Task[None]], None]:
        def ended(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            self._claims.take(lane.quick, -1)
            self._attempts.take(lane.quick, -1)
            lane.under_way -= 1
            self._settle(endpoint_id, lane)
            self._start_attempts()
            if self._has_backlog:
                self._wake.set()

        return ended

    async def _attempt(self, delivery: DueDelivery) -> None:
        """Makes one attempt and records it, however long the database is away."""
        destination = delivery.destination
        try:
            exchange = await self._sender.send(
                url=destination.url,
                headers=destination.headers,
                message_id=delivery.message_id,
                body=delivery.payload,
                keys=live_keys(destination.secrets, now=self._clock()),
            )
            self._note(destination.endpoint_id, exchange)
            outcome = outcome_of(delivery, exchange, now=self._clock(), random=self._random())
            recorded = await self._record(outcome)
        except Exception as error:
            # A defect of ours: the delivery falls due again when its claim ends.
            log.error("attempt_failed_unexpectedly", message=delivery.message_id, exc_info=error)
            return
        _log_attempt(outcome, recorded)
        if recorded.next_due_at is not None:
            self._wake.set()

    async def _record(self, outcome: Outcome) -> Recorded:
        while True:
            try:
                return await self._outcomes.submit(outcome)
            except (Unavailable, ResourceExhausted):
                # The database is away or full; the outcome is kept until it is back.
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)
            except Exception as error:
                # Another server attempts it again once the claim has ended; until then, this one's
                # outcome is worth another try.
                if self._clock() >= outcome.delivery.lease_ends_at:
                    raise
                log.error("recording_failed", exc_info=error)
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)


def _log_attempt(outcome: Outcome, recorded: Recorded) -> None:
    write = log.debug if outcome.succeeded else log.info
    write(
        "attempt",
        message=outcome.delivery.message_id,
        endpoint=outcome.delivery.destination.endpoint_id,
        number=outcome.delivery.attempt_count + 1,
        succeeded=outcome.succeeded,
        status=outcome.response_status,
        error=outcome.error_detail,
        seconds=outcome.duration.total_seconds(),
        recorded=recorded.applied,
        next_due_at=recorded.next_due_at and recorded.next_due_at.isoformat(),
    )
