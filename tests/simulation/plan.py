"""What a seed decides: how large the world is, and which faults strike it."""

import random
from dataclasses import dataclass
from datetime import timedelta

from octohooks_server.delivery.loop import Bounds


@dataclass(frozen=True, slots=True)
class Plan:
    """The size and the faults of one run. Durations are seconds."""

    servers: int
    applications: int
    endpoints: int
    messages: int
    # For how long messages are sent and faults happen.
    span: float
    # The longest step of a schedule.
    longest_step: float
    bounds: Bounds
    crashes: int
    pauses: int
    restarts: int
    outages: int
    clock_jumps: int
    error_rate: float
    resends: int
    disablings: int
    deletions: int
    # Whether servers leave what they accept to whichever takes it over.
    hands_over: bool

    @property
    def is_faultless(self) -> bool:
        """Whether nothing but receivers fails."""
        return not (
            self.crashes
            or self.pauses
            or self.restarts
            or self.outages
            or self.clock_jumps
            or self.error_rate
        )

    @property
    def seconds_between_looks(self) -> float:
        """A server looks every second, which would take most of a run; here it looks less often."""
        longest_wait = self.longest_step + 3600 * self.clock_jumps
        return max(2.0, longest_wait / 10)


def plan_of(draw: random.Random) -> Plan:
    """A plan; most have a few kinds of fault, some none."""

    def sometimes(chance: float, most: int) -> int:
        return draw.randint(1, most) if draw.random() < chance else 0

    servers = draw.choice((1, 2))
    timeout = draw.choice((2.0, 5.0))
    # A clock that is set moves a server that starts later, and servers that share a database are
    # kept together in time by their operator; so clocks jump where there is one server.
    jumps = sometimes(0.4, 2) if servers == 1 else 0
    return Plan(
        servers=servers,
        applications=draw.randint(1, 2),
        endpoints=draw.randint(1, 3),
        messages=draw.randint(2, 9),
        span=draw.choice((10.0, 30.0)),
        longest_step=draw.choice((4.0, 20.0, 20.0, 3600.0)),
        bounds=Bounds(
            lease=timedelta(seconds=timeout + 5 + draw.choice((0.0, 10.0))),
            request_timeout=timedelta(seconds=timeout),
            max_in_flight=draw.randint(1, 6),
            max_in_flight_per_endpoint=draw.randint(1, 3),
        ),
        crashes=sometimes(0.4, 3),
        pauses=sometimes(0.4, 2),
        restarts=sometimes(0.3, 2),
        outages=sometimes(0.3, 1),
        clock_jumps=jumps,
        error_rate=draw.choice((0.0, 0.0, 0.05, 0.2)),
        resends=sometimes(0.4, 4),
        disablings=sometimes(0.2, 1),
        deletions=sometimes(0.2, 1),
        # Only servers that share a database hand over. Drawn last, so that no other draw moves.
        hands_over=draw.random() < 0.5 and not jumps,
    )
