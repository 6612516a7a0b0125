"""The benchmarks from end to end, with loads that are too small to measure anything by."""

from pathlib import Path

import pytest

from benchmarks import report, runner
from benchmarks.__main__ import main
from benchmarks.runner import Options
from benchmarks.scenarios import Scenario

# Seconds: each starts a server or several, which on a busy machine takes long.
pytestmark = pytest.mark.timeout(180)


async def test_every_figure_is_reported_of_every_way_to_send(tmp_path: Path) -> None:
    scenarios = [
        Scenario("one by one", messages=50, fan_out=2, half_fails=True),
        Scenario("by batch", mode="batch", messages=250),
        Scenario("by stream", mode="stream", messages=250, idempotency_keys=True),
    ]
    for scenario in scenarios:
        result = await runner.run(scenario, Options(tmp_path))
        assert result.problems == []
        figures = result.figures
        assert figures.messages == scenario.messages
        # Of two endpoints, one fails.
        assert figures.delivered == scenario.messages
        assert figures.missing == figures.repeated == 0
        assert figures.accepted_per_second > 0
        assert figures.delivered_per_second > 0
        assert figures.server_cpu_ms > 0
        assert figures.database_cpu_ms == 0
        assert figures.rest_cpu_ms > 0
        assert 0 < figures.accept_p50_ms <= figures.accept_p99_ms
        assert 0 < figures.post_p50_ms <= figures.post_p99_ms
        assert figures.peak_memory_mb > 10


def test_the_command_prints_a_table_and_writes_what_a_later_run_can_compare_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    arguments = ["--scenario", "unary", "--messages", "50", "--folder", str(tmp_path)]
    assert main([*arguments, "--json", str(file)]) == 0
    assert "| unary " in capsys.readouterr().out
    (result,) = report.read_json(file)
    assert result.figures.delivered == 50
    assert main([*arguments, "--json", str(file), "--compare", str(file)]) == 0
    assert f"Against {file}:" in capsys.readouterr().out


async def test_a_message_that_never_comes_makes_the_benchmark_fail(tmp_path: Path) -> None:
    result = await runner.run(Scenario("unary", messages=50), Options(tmp_path, overlook=1))
    assert result.figures.missing == 1
    assert result.problems == ["1 of 50 requests never came"]


async def test_half_the_top_rate_is_sent_after_the_top_rate_is_known(tmp_path: Path) -> None:
    scenario = Scenario("half", messages=100, share_of_top_rate=0.5)
    result = await runner.run(scenario, Options(tmp_path))
    assert result.problems == []
    assert result.plain is not None
    # The sender may be late and is never early.
    assert result.figures.accepted_per_second < result.plain.delivered_per_second * 0.6


async def test_every_watch_sees_every_event_and_what_it_costs_is_told(tmp_path: Path) -> None:
    result = await runner.run(Scenario("watch", messages=50, watchers=3), Options(tmp_path))
    assert result.problems == []
    assert result.watch is not None
    assert result.watch.watchers == 3
    assert result.watch.events == 50
    assert result.watch.events_per_second > 0


# Where there is no PostgreSQL, this skips, and fails in CI.
@pytest.mark.usefixtures("cluster")
async def test_the_cpu_time_of_postgresql_is_told_apart_from_that_of_its_servers(
    tmp_path: Path,
) -> None:
    scenario = Scenario("roles", messages=50, engine="postgresql", roles=("api", "delivery"))
    result = await runner.run(scenario, Options(tmp_path))
    assert result.problems == []
    assert result.figures.delivered == 50
    assert result.figures.server_cpu_ms > 0
    assert result.figures.database_cpu_ms is not None
    assert result.figures.database_cpu_ms > 0
