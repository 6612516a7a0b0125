"""What a server accepts and does not deliver, left to those that have said that they have room."""

from collections.abc import Callable, Collection, Sequence

from octohooks_server.errors import OctohooksError
from octohooks_server.store.acceptance import Accepted

# How long an offer holds; who has made one makes it again within a second (`taking_over`), unless
# it has no more room or has died.
_SECONDS_OF_AN_OFFER = 2.5
# How long an endpoint counts as full for which a server had no room.
_SECONDS_OF_BEING_FULL = 1.0
# In one hand-over, which is as much as a server claims in one look.
MOST_DELIVERIES = 200
# Whoever is told looks for longer than this.
_LEAST_SECONDS_BETWEEN_TELLINGS = 0.05


class HandingOver:
    """Claims deliveries for other servers, as far as these offer to attempt them."""

    def __init__(self, time: Callable[[], float], tell: Callable[[], None]) -> None:
        """`tell` lets those that deliver look for what was left to them."""
        self._time = time
        self._tell = tell
        self._offer_ends = self._next_telling = time()
        self._full_until: dict[str, float] = {}

    def hear_offer(self, full: Collection[str]) -> None:
        """A server takes what is left to it, but for these endpoints, for which it had no room."""
        now = self._time()
        self._offer_ends = now + _SECONDS_OF_AN_OFFER
        if full:
            self._full_until = {id: end for id, end in self._full_until.items() if end > now}
            self._full_until.update(dict.fromkeys(full, now + _SECONDS_OF_BEING_FULL))

    def budget(self) -> Callable[[str], bool]:
        """Answers, for one group, whether one more delivery to an endpoint may be claimed."""
        now = self._time()
        left = MOST_DELIVERIES if now < self._offer_ends else 0

        def may_claim(endpoint_id: str) -> bool:
            nonlocal left
            if not left or now < self._full_until.get(endpoint_id, now):
                return False
            left -= 1
            return True

        return may_claim

    def left(self, results: Sequence[Accepted | OctohooksError]) -> None:
        """Lets others look for what is on disk now, unless they still do."""
        now = self._time()
        if now >= self._next_telling and any(
            isinstance(result, Accepted) and result.claimed for result in results
        ):
            self._next_telling = now + _LEAST_SECONDS_BETWEEN_TELLINGS
            self._tell()
