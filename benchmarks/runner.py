"""Runs one scenario: everything is started for it, and ended after it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from octohooks import AsyncOctohooks

from benchmarks.databases import open_database
from benchmarks.equipment import Equipment
from benchmarks.history import History
from benchmarks.measurement import Load, Rig, measure
from benchmarks.profiling import profiled
from benchmarks.results import Result, WatchFigures
from benchmarks.scenarios import Scenario
from benchmarks.server import Server
from benchmarks.watchers import digest_of
from benchmarks.world import World, make_world

# Before anything is measured, connections are opened, caches filled and statements compiled.
_WARM_UP_SHARE = 0.1
_LEAST_WARM_UP = 100
_MOST_WARM_UP = 2_000


@dataclass(frozen=True, slots=True)
class Options:
    """How scenarios are run."""

    # Where their data is kept while they run: on a disk, for durable writes are measured.
    folder: Path
    # PostgreSQL that is there already, and empty; None starts one.
    database_url: str | None = None
    # Where pictures go of where the server's time goes; None takes none.
    profiles: Path | None = None
    # How many requests the receiver leaves out of its record, to show that it is noticed.
    overlook: int = 0


async def run(scenario: Scenario, options: Options) -> Result:
    """Measures a scenario.

    Raises:
        ServerFailed: the server did not start, or did not stop in order.
        EquipmentFailed: the test equipment broke.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="benchmark-") as folder:
        async with _rig(scenario, options, Path(folder)) as rig:
            result = await _run(rig, options)
            await rig.server.stop()
            return result


@asynccontextmanager
async def _rig(scenario: Scenario, options: Options, folder: Path) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Equipment.running("benchmarks.receiver"))
        callers = await stack.enter_async_context(Equipment.running("benchmarks.load"))
        watchers = await stack.enter_async_context(Equipment.running("benchmarks.watchers"))
        database = await stack.enter_async_context(
            open_database(scenario.engine, folder, options.database_url)
        )
        server = Server(folder, scenario.roles, scenario.workers, database.settings)
        stack.push_async_callback(server.kill)
        await server.start()
        world = await make_world(server.address, scenario, await receiver.ask("port"))
        if scenario.history_rows:
            await server.stop()
            await database.fill(_history(scenario, world))
            await server.start()
        yield Rig(scenario, server, database, receiver, callers, watchers, world)


def _history(scenario: Scenario, world: World) -> History:
    endpoints = [
        (application, endpoint)
        for application, its in zip(world.application_ids, world.endpoint_ids, strict=True)
        for endpoint in its
    ]
    return History(world.environment_id, endpoints, scenario.history_rows)


async def _run(rig: Rig, options: Options) -> Result:
    scenario = rig.scenario
    warm_up = round(scenario.messages * _WARM_UP_SHARE)
    loads = [await measure(rig, min(max(warm_up, _LEAST_WARM_UP), _MOST_WARM_UP))]
    if loads[0].problems:
        return Result(scenario, loads[0].figures, None, None, loads[0].problems)
    if scenario.compares:
        loads.append(await measure(rig, scenario.messages))
    plain = loads[-1].figures if scenario.compares else None
    rate = None
    if plain is not None and scenario.share_of_top_rate is not None:
        rate = plain.delivered_per_second / scenario.fan_out * scenario.share_of_top_rate
    if scenario.watchers:
        await rig.watchers.ask(
            "start",
            target=rig.server.address,
            api_key=rig.world.api_key,
            count=scenario.watchers,
        )
    await rig.receiver.ask("overlook", count=options.overlook)
    async with profiled(rig.server.pids, options.profiles, scenario.name):
        loads.append(
            await measure(rig, scenario.messages, rate=rate, watched=scenario.watchers > 0)
        )
    problems = [problem for one in loads for problem in one.problems]
    watch = None
    if plain is not None and scenario.watchers:
        watch = await _watched(rig, loads[-1], plain.server_cpu_ms, problems)
    return Result(scenario, loads[-1].figures, plain, watch, problems)


async def _watched(rig: Rig, load: Load, plain_cpu_ms: float, problems: list[str]) -> WatchFigures:
    """Ends the watches; each has to have seen every attempt of the load, in the order of all."""
    seen = await rig.watchers.ask("finish")
    wanted = digest_of(await _newest_attempts(rig, load.attempts))
    wrong = sum(digest != wanted for digest in seen["digests"])
    if wrong:
        problems.append(
            f"{wrong} of {rig.scenario.watchers} watches did not see all events in order; they saw"
            f" {min(seen['counts'])} to {max(seen['counts'])} of {load.attempts}"
        )
    total = sum(seen["counts"])
    more_cpu_ms = (load.figures.server_cpu_ms - plain_cpu_ms) * load.figures.delivered
    return WatchFigures(
        watchers=rig.scenario.watchers,
        events=load.attempts,
        events_per_second=total / ((seen["last_at"] - load.began_at) / 1e9),
        server_cpu_us_per_event=more_cpu_ms * 1000 / total if total else 0.0,
    )


async def _newest_attempts(rig: Rig, count: int) -> list[str]:
    """The IDs of the newest attempts, in the order in which they were recorded."""
    ids: list[str] = []
    async with AsyncOctohooks(rig.world.api_key, target=rig.server.address) as client:
        async for attempt in client.attempt.list(page_size=250):
            ids.append(attempt.id)
            if len(ids) == count:
                break
    return ids[::-1]
