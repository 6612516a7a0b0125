"""What a server has claimed and holds in memory: a lane for each endpoint, which take turns."""

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from octohooks_server.delivery.pacing import Pacer, Pacers
from octohooks_server.delivery.places import Places, Quick
from octohooks_server.store.due import DueDelivery

# Under a rate limit, no more is held in memory than may start within this time.
_PACED_SECONDS = 2.0
# For each attempt that may be under way, at an endpoint and in total, how many more may be held in
# memory, before or after their POST: enough that an endpoint is kept busy between two looks.
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
SLOW_FROM = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a server does at once."""

    lease: timedelta
    request_timeout: timedelta
    max_in_flight: int
    max_in_flight_per_endpoint: int

    @property
    def time_to_record(self) -> timedelta:
        """How much of a lease is left at least when an attempt has taken its whole timeout."""
        return (self.lease - self.request_timeout) / 2


@dataclass(slots=True)
class _Lane:
    """What this server has claimed of one endpoint's deliveries."""

    quick: Quick
    # Each with the rate limits under which it waits for its attempt.
    waiting: deque[tuple[DueDelivery, Sequence[Pacer]]] = field(default_factory=deque)
    # Attempts that hold a place, and those whose place is free but whose outcome is not on disk.
    under_way: int = 0
    unrecorded: int = 0
    # Whether it stands in the row of lanes that can start an attempt.
    in_row: bool = False
    # Wakes it when its rate limit lets the next one start.
    timer: asyncio.TimerHandle | None = None

    @property
    def claimed(self) -> int:
        return len(self.waiting) + self.under_way + self.unrecorded


class Lanes:
    """Starts attempts in turn, within bounds.

    Concurrency is bounded in total and for each endpoint, and so is what is held in memory; the
    rest waits in the database. A lane takes no more than it leaves for others. Endpoints that are
    not known to be quick may take a part of the places only (`Places`).
    """

    def __init__(
        self,
        bounds: Bounds,
        *,
        clock: Callable[[], datetime],
        begin: Callable[[DueDelivery], None],
        give_back: Callable[[Collection[DueDelivery]], None],
    ) -> None:
        """`begin` is called for each attempt, which takes a place until `ended`.

        `give_back` is called with what has waited for too long.
        """
        self._bounds = bounds
        self._clock = clock
        self._begin = begin
        self._give_back = give_back
        self._time = asyncio.get_running_loop().time
        self._least_lease = bounds.request_timeout + bounds.time_to_record
        self._slow_from = min(SLOW_FROM, bounds.request_timeout / 2)
        self._pacers = Pacers()
        self._quick: OrderedDict[str, bool] = OrderedDict()
        # Attempts that hold a place, and everything that is claimed.
        self._posts = Places(bounds.max_in_flight)
        self._claims = Places(bounds.max_in_flight * (1 + _WAITING_PER_PLACE_IN_TOTAL))
        # All attempts whose outcome is not on disk.
        self._under_way = 0
        self._lanes: dict[str, _Lane] = {}
        self._row: deque[str] = deque()
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many deliveries wait for their attempt."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def endpoint_ids(self) -> Collection[str]:
        """The endpoints for which anything is held."""
        return list(self._lanes)

    def close(self) -> None:
        """Has no room for anything from now on."""
        self._closed = True

    def share_rate_limits(self, servers: int) -> None:
        """Takes this server's part of every rate limit, which so many servers share."""
        self._pacers.share(servers)

    # How much may be claimed.

    @property
    def room(self) -> int:
        """How many deliveries may be claimed, of endpoints that are known to be quick."""
        return 0 if self._closed else max(self._claims.free(True), 0)

    def budget(self) -> Callable[[str], bool]:
        """Answers, for one group that is accepted, whether one more to an endpoint may be claimed.

        What it says yes to counts at once, although it comes only after the commit. It may be asked
        in another thread, since it changes nothing here.
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

    def backlog_budget(self) -> tuple[int, Callable[[str], bool]]:
        """How much may be claimed of what waits in the database, and `budget` for one look at it.

        An endpoint gets no more in one look than it has room for at its beginning.
        """
        claims = self._claims.part(self._claims.total // _KEPT_FOR_ACCEPTED)
        rooms: dict[str, int] = {}

        def may_claim(endpoint_id: str) -> bool:
            if endpoint_id not in rooms:
                rooms[endpoint_id] = self._room(endpoint_id, claims, 0)
            quick = self._is_quick(endpoint_id)
            if rooms[endpoint_id] <= 0 or claims.free(quick) <= 0:
                return False
            rooms[endpoint_id] -= 1
            claims.take(quick)
            return True

        return claims.free(True), may_claim

    def _room(self, endpoint_id: str, claims: Places, more: int) -> int:
        """How many deliveries of an endpoint may be claimed, of which `more` were just now.

        An endpoint gets a part of the `claims` that are free at a time, and never more than is left
        for others.
        """
        if self._closed:
            return 0
        most = self._bounds.max_in_flight_per_endpoint * (1 + _WAITING_PER_PLACE)
        lane = self._lanes.get(endpoint_id)
        taken = more if lane is None else more + lane.claimed
        free = claims.free(self._is_quick(endpoint_id))
        if taken >= free:
            return 0
        share = max(min(free // _LARGEST_SHARE, (free - taken) // 2), 1)
        return min(most - taken, self._paced_room(endpoint_id) - more, share)

    def _paced_room(self, endpoint_id: str) -> int:
        """How many more may wait in memory under the endpoint's rate limits."""
        pacers = self._pacers.known_of(endpoint_id)
        if not pacers:
            return sys.maxsize
        now = self._time()
        return min(pacer.fits(now, _PACED_SECONDS) - pacer.waiting for pacer in pacers)

    def _is_quick(self, endpoint_id: str) -> Quick:
        """How an endpoint's claims are counted."""
        lane = self._lanes.get(endpoint_id)
        return self._quick.get(endpoint_id) if lane is None else lane.quick

    # How what is claimed gets its attempt.

    def put(self, delivery: DueDelivery) -> bool:
        """Lets a delivery wait for `start`; False when its rate limits have no room for it here."""
        endpoint_id = delivery.destination.endpoint_id
        pacers = self._pacers.of(delivery.destination)
        if pacers and self._paced_room(endpoint_id) <= 0:
            return False
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            lane = self._lanes[endpoint_id] = _Lane(self._quick.get(endpoint_id))
        lane.waiting.append((delivery, pacers))
        for pacer in pacers:
            pacer.waiting += 1
        self._claims.take(lane.quick)
        self._line_up(endpoint_id, lane)
        return True

    def take_out(self, endpoint_id: str) -> Collection[DueDelivery]:
        """Takes out everything that waits for an endpoint."""
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            return ()
        taken = [self._take_next(lane) for _ in range(len(lane.waiting))]
        self._settle(endpoint_id, lane)
        return taken

    def start(self) -> None:
        """Begins as many attempts as may be under way."""
        # Each lane is asked once a round; a round in which none can start ends it.
        skipped = 0
        while skipped < len(self._row) and self._under_way < self._bounds.max_in_flight:
            endpoint_id = self._row.popleft()
            lane = self._lanes[endpoint_id]
            lane.in_row = False
            self._give_back_outlived(lane)
            # A lane has no more attempts under way than there are places left for others like it.
            if lane.waiting and lane.under_way >= self._posts.free(lane.quick):
                lane.in_row = True
                self._row.append(endpoint_id)
                skipped += 1
                continue
            skipped = 0
            if lane.waiting and not self._held_by_rate(endpoint_id, lane):
                delivery = self._take_next(lane)
                self._claims.take(lane.quick)
                self._posts.take(lane.quick)
                lane.under_way += 1
                self._under_way += 1
                self._begin(delivery)
            self._settle(endpoint_id, lane)

    def free_place(self, endpoint_id: str) -> None:
        """The POST is over, and the endpoint's next one may begin although it is not recorded yet.

        In total it counts until then: what is not recorded is what a crash would repeat.
        """
        lane = self._lanes[endpoint_id]
        self._leave_place(lane)
        lane.unrecorded += 1
        self._line_up(endpoint_id, lane)
        self.start()

    def ended(self, endpoint_id: str, *, holds_place: bool) -> None:
        """The attempt is over; nothing of it is held any more. Its place may have been freed."""
        lane = self._lanes[endpoint_id]
        self._claims.take(lane.quick, -1)
        if holds_place:
            self._leave_place(lane)
        else:
            lane.unrecorded -= 1
        self._under_way -= 1
        self._settle(endpoint_id, lane)
        self.start()

    def note(self, endpoint_id: str, duration: timedelta) -> None:
        """Remembers whether the endpoint's last POST was quick, whatever came of it."""
        quick = duration < self._slow_from
        self._quick[endpoint_id] = quick
        self._quick.move_to_end(endpoint_id)
        if len(self._quick) > _MOST_REMEMBERED:
            self._quick.popitem(last=False)
        lane = self._lanes[endpoint_id]
        if lane.quick is not quick:
            for places, count in ((self._posts, lane.under_way), (self._claims, lane.claimed)):
                places.take(lane.quick, -count)
                places.take(quick, count)
            lane.quick = quick

    def _leave_place(self, lane: _Lane) -> None:
        self._posts.take(lane.quick, -1)
        lane.under_way -= 1

    def _take_next(self, lane: _Lane) -> DueDelivery:
        """Takes the next delivery out of a lane; it is no longer held."""
        delivery, pacers = lane.waiting.popleft()
        for pacer in pacers:
            pacer.waiting -= 1
        self._claims.take(lane.quick, -1)
        return delivery

    def _give_back_outlived(self, lane: _Lane) -> None:
        """Gives back what waited so long that its claim could end before an outcome is on disk."""
        latest = self._clock() + self._least_lease
        while lane.waiting and lane.waiting[0][0].lease_ends_at <= latest:
            self._give_back([self._take_next(lane)])

    def _line_up(self, endpoint_id: str, lane: _Lane) -> None:
        """Puts a lane that can start an attempt behind the others."""
        can_start = lane.waiting and lane.under_way < self._bounds.max_in_flight_per_endpoint
        if can_start and not lane.in_row and lane.timer is None:
            lane.in_row = True
            self._row.append(endpoint_id)

    def _settle(self, endpoint_id: str, lane: _Lane) -> None:
        """Lines a lane up again, or forgets it when nothing is left in it."""
        self._line_up(endpoint_id, lane)
        if not lane.claimed and not lane.in_row:
            if lane.timer is not None:
                lane.timer.cancel()
            del self._lanes[endpoint_id]

    def _held_by_rate(self, endpoint_id: str, lane: _Lane) -> bool:
        """Takes a start from the lane's rate limits, or lets the lane wait until there is one."""
        _, pacers = lane.waiting[0]
        if not pacers:
            return False
        now = self._time()
        start_at = max(pacer.earliest(now) for pacer in pacers)
        if start_at <= now:
            for pacer in pacers:
                pacer.take(now)
            return False

        def wake() -> None:
            lane.timer = None
            self._settle(endpoint_id, lane)
            self.start()

        lane.timer = asyncio.get_running_loop().call_at(start_at, wake)
        return True
