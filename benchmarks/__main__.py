"""Measures scenarios and reports: `python -m benchmarks --scenario unary batch`."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import report
from benchmarks.equipment import EquipmentFailed
from benchmarks.profiling import PY_SPY
from benchmarks.results import Result
from benchmarks.runner import Options, run
from benchmarks.scenarios import ALL, DEFAULT, Scenario
from benchmarks.server import ServerFailed

_ROOT = Path(__file__).resolve().parent.parent
_RESULTS = _ROOT / "benchmarks/results"
_BUILD = _ROOT / "build"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line above; answers 1 when something that was accepted did not arrive."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.profile is not None and not PY_SPY.exists():
        parser.error("--profile needs py-spy: pip install py-spy")
    before = report.read_json(options.compare) if options.compare else None
    run_options = Options(
        folder=options.folder, database_url=options.database_url, profiles=options.profile
    )
    results, problems = asyncio.run(_run_all(_chosen(options), run_options))
    print("", report.table(results), report.LEGEND, sep="\n")
    if watched := report.watch_table(results):
        print("", watched, sep="\n")
    if before is not None:
        print("", f"Against {options.compare}:", "", report.comparison(before, results), sep="\n")
    report.write_json(options.json, results)
    print(f"\nWritten to {options.json}")
    problems += report.problems(results)
    for problem in problems:
        print(f"FAILED  {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--scenario", nargs="+", choices=ALL, metavar="NAME", help=f"of: {', '.join(ALL)}"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"all of them; else the first {len(DEFAULT)}"
    )
    parser.add_argument("--messages", type=int, help="how many are measured in each")
    parser.add_argument("--quick", action="store_true", help="a tenth of messages and history")
    parser.add_argument(
        "--database", choices=["sqlite", "postgresql"], help="instead of the scenario's own"
    )
    parser.add_argument(
        "--database-url", metavar="URL", help="an empty PostgreSQL; else one is started"
    )
    parser.add_argument(
        "--json", type=Path, default=_RESULTS / f"{now}.json", metavar="FILE", help="results"
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="with earlier results")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="writes flame graphs; needs py-spy"
    )
    parser.add_argument(
        "--folder", type=Path, default=_BUILD, help="on the disk that databases are to be on"
    )
    return parser


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.scenario:
        scenarios = [ALL[name] for name in options.scenario]
    else:
        scenarios = list((ALL if options.all else DEFAULT).values())
    if options.quick:
        scenarios = [scenario.quick() for scenario in scenarios]
    if options.messages:
        scenarios = [scenario.of_messages(options.messages) for scenario in scenarios]
    if options.database:
        scenarios = [replace(scenario, engine=options.database) for scenario in scenarios]
    return scenarios


async def _run_all(
    scenarios: Sequence[Scenario], options: Options
) -> tuple[list[Result], list[str]]:
    """The results, and a sentence for each scenario that has none."""
    this = asyncio.current_task()
    assert this is not None
    # Else servers would outlive it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    results = []
    broken = []
    for scenario in scenarios:
        print(f"{scenario.name} ...", file=sys.stderr, flush=True)
        try:
            results.append(await run(scenario, options))
        except (ServerFailed, EquipmentFailed) as error:
            broken.append(f"{scenario.name}: {error}")
    return results, broken


if __name__ == "__main__":
    sys.exit(main())
