"""What the simulator itself knows about the world, as the customers of the server would."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from octohooks_server.store.columns import to_microseconds

from tests.simulation.plan import Plan

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""What a clock that was never set shows at virtual second 0."""


@dataclass(slots=True)
class KnownEndpoint:
    """An endpoint as it was made."""

    application_id: str
    schedule: tuple[timedelta, ...]
    is_rate_limited: bool = False
    # Whether somebody has asked to disable or delete it.
    may_be_retired: bool = False
    # When that was answered, in virtual seconds.
    retired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message whose sender was told that it is safe."""

    application_id: str
    # The endpoints that must get it.
    endpoint_ids: frozenset[str]
    created_at: datetime


@dataclass(slots=True)
class World:
    """What was made, and what was promised."""

    plan: Plan
    environment_id: str = ""
    application_ids: list[str] = field(default_factory=list)
    endpoints: dict[str, KnownEndpoint] = field(default_factory=dict)
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    # Manual attempts that were promised, with the virtual time of the promise.
    resends: list[tuple[tuple[str, str], float]] = field(default_factory=list)

    def real_time(self, microseconds: int) -> float:
        """The virtual second of a stored time, where no clock was set."""
        return (microseconds - to_microseconds(START)) / 1e6
