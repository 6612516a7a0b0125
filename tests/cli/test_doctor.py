"""`octohooks doctor`: a line for each thing that is looked at, and an exit code."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.name_server import NameServer


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Of a server that has no problem."""
    async with NameServer({"octohooks.invalid": []}) as names:
        yield {
            "OCTOHOOKS_DATA_DIR": str(tmp_path),
            "OCTOHOOKS_LISTEN": "127.0.0.1:0",
            "OCTOHOOKS_NAMESERVERS": names.address,
            "OCTOHOOKS_OPERATOR_KEY": "",
        }


async def test_without_a_problem_it_ends_with_code_0_whatever_it_warns_of(
    run: Run, settings: dict[str, str]
) -> None:
    result = await asyncio.to_thread(run, "doctor", env=settings)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "warning"}
    assert any(line.startswith("warning  operator key: OCTOHOOKS_OPERATOR_KEY") for line in lines)


@pytest.mark.parametrize("arguments", [["--json", "doctor"], ["doctor", "--json"]])
def test_a_problem_ends_it_with_code_1_and_json_is_an_object_per_line(
    run: Run, arguments: list[str]
) -> None:
    result = run(*arguments, env={"OCTOHOOKS_LEASE": "1", "OCTOHOOKS_ROLE": "api"})
    assert result.exit_code == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "subject": "settings",
            "verdict": "problem",
            "text": "OCTOHOOKS_LEASE is 1 and must be at least 20: OCTOHOOKS_REQUEST_TIMEOUT plus 5"
            " seconds, or a delivery could be attempted twice at the same time.",
        },
        {
            "subject": "settings",
            "verdict": "problem",
            "text": "OCTOHOOKS_ROLE is api, which needs OCTOHOOKS_DATABASE_URL: the embedded"
            " database serves one server.",
        },
    ]
