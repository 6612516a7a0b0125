"""What a measurement found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Figures:
    """One load: its speed, its cost, its latencies, and what became of it.

    CPU times are milliseconds for each delivered message, which is one message at one endpoint that
    took it. Latencies are milliseconds.
    """

    messages: int
    delivered: int
    accepted_per_second: float
    delivered_per_second: float
    server_cpu_ms: float
    # None for a database elsewhere. SQLite's work is in the server's.
    database_cpu_ms: float | None
    # The callers, the receiver and the watchers.
    rest_cpu_ms: float
    # From the call to its answer.
    accept_p50_ms: float
    accept_p99_ms: float
    # From the call to the arrival of the request at the receiver.
    post_p50_ms: float
    post_p99_ms: float
    # Resident, over the server's life, and its growth over the second half of the load.
    peak_memory_mb: float
    memory_growth_mb: float
    missing: int
    repeated: int


@dataclass(frozen=True, slots=True)
class WatchFigures:
    """What watching cost."""

    watchers: int
    # Events that each watch saw.
    events: int
    # Over all watches.
    events_per_second: float
    # CPU time of the server for one event at one watch, beyond that of the same load unwatched.
    server_cpu_us_per_event: float


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario."""

    scenario: Scenario
    figures: Figures
    # The same load without what the scenario adds, where it is measured first.
    plain: Figures | None
    watch: WatchFigures | None
    # Sentences; a measurement with problems counts for nothing.
    problems: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def result_from_json(value: dict[str, Any]) -> Result:
    """What `as_json` made."""
    scenario = {**value["scenario"], "roles": tuple(value["scenario"]["roles"])}
    return Result(
        scenario=Scenario(**scenario),
        figures=Figures(**value["figures"]),
        plain=Figures(**value["plain"]) if value["plain"] else None,
        watch=WatchFigures(**value["watch"]) if value["watch"] else None,
        problems=value["problems"],
    )


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed; 0 for none."""
    if not sorted_values:
        return 0.0
    rank = -(-len(sorted_values) * round(share * 1000) // 1000)
    return sorted_values[max(rank, 1) - 1]
