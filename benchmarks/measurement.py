"""One load on a running server, from the first call until everything has arrived."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from benchmarks import load, processes
from benchmarks.databases import Database
from benchmarks.equipment import Equipment
from benchmarks.results import Figures, percentile
from benchmarks.scenarios import Scenario
from benchmarks.server import Server
from benchmarks.verification import Verdict, verify
from benchmarks.world import ATTEMPTS_OF_A_FAILING_ENDPOINT, World, fails

_MOST_SECONDS_TO_CATCH_UP = 60.0
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_BETWEEN_SAMPLES = 0.25
_CONNECTIONS_PER_SERVER = 4
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rig:
    """Everything that takes part."""

    scenario: Scenario
    server: Server
    database: Database
    receiver: Equipment
    callers: Equipment
    watchers: Equipment
    world: World

    @property
    def connections(self) -> int:
        """How many connections callers have, so that each process of a server gets some."""
        return _CONNECTIONS_PER_SERVER * self.scenario.workers


@dataclass(frozen=True, slots=True)
class Load:
    """What one load was, and what came of it."""

    figures: Figures
    # When it began, in nanoseconds since the epoch.
    began_at: int
    # Attempts that were made for it.
    attempts: int
    problems: list[str] = field(default_factory=list)


async def measure(
    rig: Rig, messages: int, *, rate: float | None = None, watched: bool = False
) -> Load:
    """Sends so many messages and measures until each has arrived, is recorded, and was seen.

    `rate` is messages per second; None sends as fast as answers come. `watched` tells whether the
    watchers have begun.
    """
    task = load.Task(
        mode=rig.scenario.mode,
        count=messages,
        payload_bytes=rig.scenario.payload_bytes,
        applications=rig.world.application_ids,
        callers=rig.scenario.callers,
        connections=rig.connections,
        idempotency_keys=rig.scenario.idempotency_keys,
        rate=rate,
        seconds=rig.scenario.seconds,
    )
    memory: list[int] = []
    sampling = asyncio.create_task(_sample_memory(rig.server, memory))
    before = _Costs.of(rig)
    sent = await rig.callers.ask(
        "send", target=rig.server.address, api_key=rig.world.api_key, **_arguments(task)
    )
    attempts = sum(
        _requests_to(rig.scenario, endpoint)
        for _, application in sent["accepted"]
        for endpoint in rig.world.endpoint_numbers(application)
    )
    settled = await _is_settled(rig.database, rig.scenario.seconds * 2)
    if watched:
        # What they miss is found out when they are ended.
        await rig.watchers.ask("catch_up", events=attempts, seconds=_MOST_SECONDS_TO_CATCH_UP)
    costs = _Costs.of(rig).since(before)
    memory.append(rig.server.memory_bytes())
    sampling.cancel()
    with suppress(asyncio.CancelledError):
        await sampling
    received = await rig.receiver.ask("take")
    verdict = verify(
        ((id, application) for id, application in sent["accepted"]),
        rig.world.endpoint_numbers,
        lambda endpoint: _requests_to(rig.scenario, endpoint),
        ((id, endpoint) for id, endpoint, _ in received["arrivals"]),
    )
    return Load(
        figures=_figures(rig, sent, received, costs, verdict, memory),
        began_at=sent["first_sent_at"],
        attempts=attempts,
        problems=_problems(sent, verdict, settled),
    )


def _arguments(task: load.Task) -> dict[str, Any]:
    return {name: getattr(task, name) for name in load.Task.__dataclass_fields__}


def _requests_to(scenario: Scenario, endpoint: int) -> int:
    return ATTEMPTS_OF_A_FAILING_ENDPOINT if fails(scenario, endpoint) else 1


async def _is_settled(database: Database, seconds: float) -> bool:
    """Waits until no delivery has an attempt to come; False when that takes longer."""
    ends_at = time.monotonic() + seconds
    while await database.is_unfinished():
        if time.monotonic() > ends_at:
            return False
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    return True


async def _sample_memory(server: Server, samples: list[int]) -> None:
    while True:
        samples.append(server.memory_bytes())
        await asyncio.sleep(_SECONDS_BETWEEN_SAMPLES)


@dataclass(frozen=True, slots=True)
class _Costs:
    """CPU time in seconds."""

    server: float
    database: float | None
    rest: float

    @classmethod
    def of(cls, rig: Rig) -> "_Costs":
        rest = [rig.receiver.pid, rig.callers.pid, rig.watchers.pid]
        return cls(
            rig.server.cpu_seconds(), rig.database.cpu_seconds(), processes.cpu_seconds(rest)
        )

    def since(self, before: "_Costs") -> "_Costs":
        database = None
        if self.database is not None and before.database is not None:
            database = self.database - before.database
        return _Costs(self.server - before.server, database, self.rest - before.rest)


def _figures(
    rig: Rig,
    sent: Mapping[str, Any],
    received: Mapping[str, Any],
    costs: _Costs,
    verdict: Verdict,
    memory: list[int],
) -> Figures:
    took = [
        (id, endpoint, microseconds)
        for id, endpoint, microseconds in received["arrivals"]
        if not fails(rig.scenario, endpoint)
    ]
    delivered = len({(id, endpoint) for id, endpoint, _ in took})
    accepting = (sent["last_accepted_at"] - sent["first_sent_at"]) / 1e9
    delivering = (received["last_delivered_at"] - sent["first_sent_at"]) / 1e9
    accept = sorted(microseconds / 1000 for microseconds in sent["latencies_us"])
    post = sorted(microseconds / 1000 for _, _, microseconds in took)

    def of_one(seconds: float) -> float:
        return seconds * 1000 / delivered if delivered else 0.0

    return Figures(
        messages=len(sent["accepted"]),
        delivered=delivered,
        accepted_per_second=len(sent["accepted"]) / accepting if accepting > 0 else 0.0,
        delivered_per_second=delivered / delivering if delivering > 0 else 0.0,
        server_cpu_ms=of_one(costs.server),
        database_cpu_ms=None if costs.database is None else of_one(costs.database),
        rest_cpu_ms=of_one(costs.rest),
        accept_p50_ms=percentile(accept, 0.5),
        accept_p99_ms=percentile(accept, 0.99),
        post_p50_ms=percentile(post, 0.5),
        post_p99_ms=percentile(post, 0.99),
        peak_memory_mb=rig.server.peak_memory_bytes() / _MEBIBYTE,
        memory_growth_mb=(memory[-1] - memory[len(memory) // 2]) / _MEBIBYTE,
        missing=verdict.missing,
        repeated=verdict.repeated,
    )


def _problems(sent: Mapping[str, Any], verdict: Verdict, settled: bool) -> list[str]:
    problems = []
    if sent["refused"]:
        problems.append(f"{sent['refused']} messages or calls were refused: {sent['refusal']}")
    if not sent["accepted"]:
        problems.append("no message was accepted")
    if not settled:
        problems.append("deliveries were unfinished when there was no more time")
    if verdict.missing:
        problems.append(f"{verdict.missing} of {verdict.expected} requests never came")
    if verdict.unexpected:
        problems.append(f"{verdict.unexpected} requests came that nobody had asked for")
    return problems
