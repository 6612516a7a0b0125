"""Results for people, for files, and against earlier ones."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import Figures, Result, result_from_json

_COLUMNS: Sequence[tuple[str, Callable[[Figures], str]]] = (
    ("accepted/s", lambda one: f"{one.accepted_per_second:,.0f}"),
    ("delivered/s", lambda one: f"{one.delivered_per_second:,.0f}"),
    ("server CPU", lambda one: f"{one.server_cpu_ms:.3f}"),
    ("database CPU", lambda one: _or_dash(one.database_cpu_ms)),
    ("rest CPU", lambda one: f"{one.rest_cpu_ms:.3f}"),
    ("accept p50", lambda one: f"{one.accept_p50_ms:.1f}"),
    ("accept p99", lambda one: f"{one.accept_p99_ms:.1f}"),
    ("to POST p50", lambda one: f"{one.post_p50_ms:.1f}"),
    ("to POST p99", lambda one: f"{one.post_p99_ms:.1f}"),
    ("peak MB", lambda one: f"{one.peak_memory_mb:.0f}"),
    ("growth MB", lambda one: f"{one.memory_growth_mb:+.1f}"),
    ("missing", lambda one: f"{one.missing}"),
    ("repeated", lambda one: f"{one.repeated}"),
)

LEGEND = """\
CPU: milliseconds for each delivered message. accept: from the call to its answer; to POST: from the
call to the request at the receiver; both in milliseconds. growth: of resident memory over the
second half of the load."""

# What a comparison shows, and whether less is better.
_COMPARED: Sequence[tuple[str, Callable[[Figures], float | None]]] = (
    ("delivered/s", lambda one: one.delivered_per_second),
    ("server CPU", lambda one: one.server_cpu_ms),
    ("database CPU", lambda one: one.database_cpu_ms),
    ("accept p99", lambda one: one.accept_p99_ms),
    ("to POST p99", lambda one: one.post_p99_ms),
    ("peak MB", lambda one: one.peak_memory_mb),
)


def table(results: Sequence[Result]) -> str:
    """A Markdown table with a line for each scenario."""
    rows = []
    for result in results:
        if result.plain is not None:
            rows.append([f"{result.scenario.name}, before", *_cells(result.plain)])
        rows.append([result.scenario.name, *_cells(result.figures)])
    return _markdown(["scenario", *(name for name, _ in _COLUMNS)], rows)


def watch_table(results: Sequence[Result]) -> str:
    """A Markdown table of what watching cost; empty when nothing was watched."""
    rows = [
        [
            result.scenario.name,
            f"{result.watch.events:,}",
            f"{result.watch.events_per_second:,.0f}",
            f"{result.watch.server_cpu_us_per_event:.1f}",
        ]
        for result in results
        if result.watch is not None
    ]
    if not rows:
        return ""
    return _markdown(
        ["scenario", "events", "events/s over all watches", "server CPU µs per event and watch"],
        rows,
    )


def comparison(before: Sequence[Result], after: Sequence[Result]) -> str:
    """A Markdown table of how the scenarios that both have changed."""
    earlier = {result.scenario.name: result.figures for result in before}
    rows = [
        [
            result.scenario.name,
            *(
                _change(read(earlier[result.scenario.name]), read(result.figures))
                for _, read in _COMPARED
            ),
        ]
        for result in after
        if result.scenario.name in earlier
    ]
    return _markdown(["scenario", *(name for name, _ in _COMPARED)], rows)


def problems(results: Sequence[Result]) -> list[str]:
    """A sentence for everything for which a measurement counts for nothing."""
    return [f"{one.scenario.name}: {problem}" for one in results for problem in one.problems]


def write_json(file: Path, results: Sequence[Result]) -> None:
    """Writes results, and what they were measured on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "version": version("octohooks"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "results": [result.as_json() for result in results],
    }
    file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def read_json(file: Path) -> list[Result]:
    """The results that `write_json` wrote."""
    return [result_from_json(one) for one in json.loads(file.read_text("utf-8"))["results"]]


def _cells(figures: Figures) -> list[str]:
    return [read(figures) for _, read in _COLUMNS]


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "-"
    change = f" ({(after / before - 1) * 100:+.0f} %)" if before else ""
    return f"{_short(before)} → {_short(after)}{change}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned, so that it can be read as it stands."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        [header[0].ljust(widths[0])]
        + [name.rjust(width) for name, width in zip(header[1:], widths[1:], strict=True)],
        ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])],
        *(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            for row in rows
        ),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
