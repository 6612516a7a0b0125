"""Takes over what servers that do not deliver have accepted, and offers them to do so."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from octohooks_server.delivery.handing_over import MOST_DELIVERIES
from octohooks_server.delivery.loop import DeliveryLoop
from octohooks_server.errors import OctohooksError
from octohooks_server.store import hand_overs
from octohooks_server.store.database import Database, Row
from octohooks_server.waiting import wait_at_most

log = structlog.get_logger()

# How many hand-overs are taken together.
_MOST_AT_ONCE = 10
# Between two looks, so that what is left one after another is taken together: so many times as long
# as a look took, which is longer the busier the server is.
_PAUSE_PER_LOOK = 3.0
_LEAST_SECONDS_BETWEEN_LOOKS = 0.005
# Who leaves something tells it once in a while only (`handing_over`), so a look goes on for longer.
_SECONDS_OF_LOOKING = 0.1
# What was told when nobody listened, or left by a server that died, is found after this; it is the
# time too after which an offer is made again.
_MOST_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_AFTER_A_FAILURE = 1.0
# What has waited for longer shows that this server is behind, and should not be left more.
_KEEPS_UP = timedelta(seconds=1)


class TakingOver:
    """Takes hand-overs for the delivery loop of this server until it is stopped."""

    def __init__(
        self,
        database: Database,
        *,
        loop: DeliveryLoop,
        clock: Callable[[], datetime],
        offer: Callable[[Collection[str]], None],
    ) -> None:
        """`offer` says to others that this server has room, but for endpoints with these IDs."""
        self._database = database
        self._loop = loop
        self._clock = clock
        self._offer = offer
        self._wake = asyncio.Event()
        self._stopping = False
        # What was taken, until it has been read as well.
        self._unread: Sequence[Row] = ()
        self._time = asyncio.get_running_loop().time
        self._next_offer = self._looks_until = self._time()

    def look(self) -> None:
        """Says that something was left."""
        self._looks_until = self._time() + _SECONDS_OF_LOOKING
        self._wake.set()

    def meet(self) -> None:
        """Says that there is a server that may have heard no offer yet."""
        self._next_offer = self._time()
        self._wake.set()

    def stop(self) -> None:
        """Ends `run`; what is left from now on is for others."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Offers and takes until `stop` is called."""
        while not self._stopping:
            # Cleared before the look, so that what is signalled during it leads to another.
            self._wake.clear()
            began = self._time()
            try:
                has_more = await self._look()
            except Exception as error:
                expected = isinstance(error, OctohooksError)
                log.error("taking_over_failed", exc_info=None if expected else error)
                await wait_at_most(_SECONDS_AFTER_A_FAILURE, self._wake)
                continue
            pause = _PAUSE_PER_LOOK * (self._time() - began)
            await asyncio.sleep(max(pause, _LEAST_SECONDS_BETWEEN_LOOKS))
            # Only behind a look that began late enough to have found what was left without a word.
            if not has_more and began >= self._looks_until:
                await wait_at_most(_MOST_SECONDS_BETWEEN_LOOKS, self._wake)
        await self._leave_unread()

    async def _leave_unread(self) -> None:
        """Leaves to others what the database kept this server from reading."""
        if self._unread:
            with suppress(OctohooksError):
                await self._database.run_one_change(
                    lambda conn: hand_overs.give_back(conn, self._unread)
                )

    async def _look(self) -> bool:
        """Takes what there is room for; answers whether there may be more."""
        room = self._loop.room
        if not room:
            return True
        now = self._clock()
        # What there is no room for would have to be given back, one by one.
        most = min(max(room // MOST_DELIVERIES, 1), _MOST_AT_ONCE)
        if not self._unread:
            self._unread = await self._database.run_one_change(
                lambda conn: hand_overs.take(conn, most=most)
            )
        has_more = len(self._unread) >= most
        taken = await self._database.run_one_change(
            lambda conn: hand_overs.read(conn, self._unread, now=now)
        )
        self._unread = ()
        full = self._loop.take_over(taken.deliveries)
        if taken.left_due:
            self._loop.look()
        if taken.deliveries:
            self.look()
        keeps_up = taken.left_at is None or now - taken.left_at < _KEEPS_UP
        if full or (keeps_up and self._time() >= self._next_offer):
            self._next_offer = self._time() + _MOST_SECONDS_BETWEEN_LOOKS
            self._offer(full)
        return has_more
