"""Runs many seeds: `python -m tests.simulation --seeds 10000 --from 0`."""

import argparse
import sys
from collections import Counter

from tests.simulation.simulation import Report, simulate

_COUNTS = (
    "messages",
    "posts",
    "attempts",
    "deliveries taken over",
    "crashes",
    "pauses",
    "restarts",
    "outages",
    "database errors",
    "clock jumps",
    "resends",
    "disablings",
    "deletions",
)


def main() -> None:
    """Runs the seeds that it is asked for; ends with 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--trace", action="store_true", help="show what happened")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        report = simulate(seed)
        counts += report.counts
        if arguments.trace:
            print("\n".join(report.trace.lines))
        if report.violations:
            failed += 1
            print(failure_of(report), flush=True)
    numbers = ", ".join(f"{counts[name]} {name}" for name in _COUNTS)
    print(f"{arguments.seeds} seeds, {failed} failed: {numbers}")
    sys.exit(1 if failed else 0)


def failure_of(report: Report) -> str:
    """What a seed broke, and how to see it again."""
    return "\n".join(
        [
            f"seed {report.seed}:",
            *(f"  {violation}" for violation in report.violations),
            "  see it with: .venv/bin/python -m tests.simulation"
            f" --seeds 1 --from {report.seed} --trace",
        ]
    )


if __name__ == "__main__":
    main()
