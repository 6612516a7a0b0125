"""Runs many seeds: `python -m tests.fuzz --seeds 100 --from 0 --calls 2000`."""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from tests.acceptance.memory import Memory
from tests.fuzz.fuzzing import Report, fuzz, fuzzed_server
from tests.postgresql import Cluster
from tests.server.api.home import Home

# By so much the process may grow from a tenth of the seeds on, when its caches are warm.
_MOST_GROWTH = 64 * 1024 * 1024


def main() -> None:
    """Runs the seeds that it is asked for; ends with 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--calls", type=int, default=2_000, help="how many calls a seed makes")
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite")
    parser.add_argument("--counts", action="store_true", help="show how calls ended")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.exit(1 if asyncio.run(_run(arguments)) else 0)


async def _run(arguments: argparse.Namespace) -> bool:
    """Whether anything failed."""
    counts: Counter[str] = Counter()
    failed = False
    warm = 0
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    async with _home(arguments.postgresql) as home, fuzzed_server(home) as (server, transactions):
        for done, seed in enumerate(seeds, start=1):
            report = await fuzz(server, transactions, seed=seed, steps=arguments.calls)
            counts += report.counts
            if report.faults:
                failed = True
                print(failure_of(report, arguments.calls), flush=True)
            gc.collect()
            if done * 10 <= arguments.seeds or not warm:
                warm = _resident()
        grown = _resident() - warm
    if grown > _MOST_GROWTH:
        failed = True
        print(f"the process has grown by {grown:,} bytes since its caches were warm")
    if arguments.counts:
        print("\n".join(f"{count:>8} {what}" for what, count in sorted(counts.items())))
    answered = sum(count for what, count in counts.items() if what.endswith(" OK"))
    print(
        f"{arguments.seeds} seeds, {'some' if failed else 'none'} failed:"
        f" {counts.total():,} calls, {answered:,} of them answered; grown by {grown:,} bytes"
    )
    return failed


def _resident() -> int:
    """The memory of this process in bytes; 0 where the system does not tell."""
    return Memory(os.getpid()).at_first if sys.platform == "linux" else 0


@contextlib.asynccontextmanager
async def _home(on_postgresql: bool) -> AsyncIterator[Home]:
    with tempfile.TemporaryDirectory() as folder:
        if not on_postgresql:
            yield Home(Path(folder))
            return
        async with Cluster(Path(folder) / "cluster").database() as url:
            yield Home(Path(folder), url)


def failure_of(report: Report, calls: int) -> str:
    """What a seed broke, and how to see it again."""
    return "\n".join(
        [
            f"seed {report.seed}:",
            *(f"  {fault}" for fault in report.faults[-20:]),
            "  try it again with: .venv/bin/python -m tests.fuzz"
            f" --seeds 1 --from {report.seed} --calls {calls}",
        ]
    )


if __name__ == "__main__":
    main()
