"""Rate limits: when the next message may go to an endpoint or to an application."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from octohooks_server.store.destinations import Destination

# A limit that has not been used may be exceeded for this long at once: a tenth of a second's worth.
_BURST_SECONDS = 0.1
_MOST_REMEMBERED = 100_000

T = TypeVar("T")


class Pacer:
    """Spreads starts over time, evenly. Times are seconds of any one clock.

    Of `rate` in a second, this server has the part that it shares with others.
    """

    __slots__ = ("_interval", "_tolerance", "_virtual_start", "rate", "waiting")

    def __init__(self, rate: int, servers: int = 1) -> None:
        self.rate = rate
        # How many wait in memory for a start under this limit; whoever holds them counts them.
        self.waiting = 0
        # When the next one would start, if all before it had been spread evenly.
        self._virtual_start = 0.0
        self.share(servers)

    def share(self, servers: int) -> None:
        """Divides the rate by the number of servers from now on."""
        self._interval = servers / self.rate
        self._tolerance = max(_BURST_SECONDS - self._interval, 0.0)

    def earliest(self, now: float) -> float:
        """When the next one may start; `now` when it may at once."""
        return max(self._virtual_start - self._tolerance, now)

    def take(self, now: float) -> None:
        """One starts now."""
        self._virtual_start = max(self._virtual_start, now) + self._interval

    def fits(self, now: float, seconds: float) -> int:
        """How many may start within the next `seconds`, at least one."""
        ahead = max(self._virtual_start - now, 0.0)
        return max(int((seconds - ahead) / self._interval), 1)


class Pacers:
    """The pacers of everything that has a rate limit."""

    def __init__(self) -> None:
        self._servers = 1
        self._by_id: OrderedDict[str, Pacer] = OrderedDict()
        self._of_endpoint: OrderedDict[str, tuple[Pacer, ...]] = OrderedDict()

    def of(self, destination: Destination) -> Sequence[Pacer]:
        """The limits that apply to a destination: its own, its application's, or none."""
        limits = (
            (destination.endpoint_id, destination.rate_limit),
            (destination.application_id, destination.application_rate_limit),
        )
        pacers = tuple(self._pacer(id, rate) for id, rate in limits if rate)
        if pacers:
            self._of_endpoint[destination.endpoint_id] = pacers
            _forget_oldest(self._of_endpoint)
        else:
            self._of_endpoint.pop(destination.endpoint_id, None)
        return pacers

    def known_of(self, endpoint_id: str) -> Sequence[Pacer]:
        """The limits that applied to an endpoint when `of` was asked last."""
        return self._of_endpoint.get(endpoint_id, ())

    def share(self, servers: int) -> None:
        """Divides every limit by the number of servers that deliver."""
        if servers != self._servers:
            self._servers = servers
            for pacer in self._by_id.values():
                pacer.share(servers)

    def _pacer(self, id: str, rate: int) -> Pacer:
        pacer = self._by_id.get(id)
        if pacer is None or pacer.rate != rate:
            pacer = self._by_id[id] = Pacer(rate, self._servers)
        self._by_id.move_to_end(id)
        _forget_oldest(self._by_id)
        return pacer


def _forget_oldest(remembered: OrderedDict[str, T]) -> None:
    if len(remembered) > _MOST_REMEMBERED:
        remembered.popitem(last=False)
