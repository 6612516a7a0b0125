"""Reports of what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.results import Figures, Result, WatchFigures, percentile
from benchmarks.scenarios import Scenario

_FIGURES = Figures(
    messages=1_000,
    delivered=2_000,
    accepted_per_second=1_234.5,
    delivered_per_second=2_345.6,
    server_cpu_ms=0.5,
    database_cpu_ms=0.125,
    rest_cpu_ms=0.25,
    accept_p50_ms=1.5,
    accept_p99_ms=10.0,
    post_p50_ms=2.5,
    post_p99_ms=20.0,
    peak_memory_mb=100.0,
    memory_growth_mb=0.5,
    missing=3,
    repeated=4,
)
_RESULT = Result(Scenario("unary"), _FIGURES, plain=None, watch=None, problems=[])


def _rows(table: str) -> list[list[str]]:
    """The cells of each line, the header first."""
    lines = table.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def test_the_table_has_a_line_with_every_figure_of_a_scenario() -> None:
    header, row = _rows(report.table([_RESULT]))
    assert dict(zip(header, row, strict=True)) == {
        "scenario": "unary",
        "accepted/s": "1,234",
        "delivered/s": "2,346",
        "server CPU": "0.500",
        "database CPU": "0.125",
        "rest CPU": "0.250",
        "accept p50": "1.5",
        "accept p99": "10.0",
        "to POST p50": "2.5",
        "to POST p99": "20.0",
        "peak MB": "100",
        "growth MB": "+0.5",
        "missing": "3",
        "repeated": "4",
    }


def test_a_database_elsewhere_has_no_cpu_time() -> None:
    header, row = _rows(
        report.table([replace(_RESULT, figures=replace(_FIGURES, database_cpu_ms=None))])
    )
    assert row[header.index("database CPU")] == "-"


def test_a_scenario_that_is_measured_twice_has_two_lines() -> None:
    result = replace(_RESULT, plain=replace(_FIGURES, missing=0))
    _, before, row = _rows(report.table([result]))
    assert (before[0], before[-2]) == ("unary, before", "0")
    assert (row[0], row[-2]) == ("unary", "3")


def test_what_watching_costs_has_a_table_of_its_own() -> None:
    assert report.watch_table([_RESULT]) == ""
    watched = replace(_RESULT, watch=WatchFigures(100, 2_000, 50_000.0, 12.34))
    _, row = _rows(report.watch_table([_RESULT, watched]))
    assert row == ["unary", "2,000", "50,000", "12.3"]


def test_results_read_from_a_file_are_those_that_were_written(tmp_path: Path) -> None:
    results = [
        _RESULT,
        Result(
            Scenario("two", roles=("api", "delivery"), share_of_top_rate=0.5, watchers=1),
            _FIGURES,
            plain=_FIGURES,
            watch=WatchFigures(1, 2, 3.0, 4.0),
            problems=["lost"],
        ),
    ]
    file = tmp_path / "new folder" / "results.json"
    report.write_json(file, results)
    assert report.read_json(file) == results


def test_a_comparison_shows_the_change_of_scenarios_that_both_have() -> None:
    faster = replace(_RESULT, figures=replace(_FIGURES, server_cpu_ms=0.4, database_cpu_ms=None))
    other = replace(_RESULT, scenario=Scenario("other"))
    header, row = _rows(report.comparison([_RESULT], [faster, other]))
    assert row[header.index("server CPU")] == "0.5 → 0.4 (-20 %)"
    assert row[header.index("database CPU")] == "-"
    assert row[header.index("delivered/s")] == "2,346 → 2,346 (+0 %)"


def test_problems_name_their_scenario() -> None:
    assert report.problems([_RESULT, replace(_RESULT, problems=["lost"])]) == ["unary: lost"]


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 0.5, 0.0),
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 1002)], 0.99, 991.0),
    ],
)
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(
    values: list[float], share: float, found: float
) -> None:
    assert percentile(values, share) == found
