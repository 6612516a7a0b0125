"""`octohooks demo` as a newcomer runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the demo, with its temporary folder in the test's own."""
    processes: list[subprocess.Popen[str]] = []

    def start(**env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "octohooks_cli", "demo"],
            env={**os.environ, "TMPDIR": str(tmp_path), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        # The demo stops its server when it is told to end.
        process.terminate()
        process.communicate()


def port_of_server(line: str) -> int:
    match = re.search(r"A server at 127\.0\.0\.1:(\d+)", line)
    assert match is not None, line
    return int(match[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_it_shows_the_retry_delivers_everything_and_leaves_nothing_behind(
    start: Start, tmp_path: Path
) -> None:
    process = start()
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ""), output
    attempts = re.findall(r"(failed|succeeded) +attempt (\d) .* (msg_\w+) ", output)
    (failed,) = [message for outcome, _, message in attempts if outcome == "failed"]
    assert [number for _, number, message in attempts if message == failed] == ["1", "2"]
    succeeded = [message for outcome, _, message in attempts if outcome == "succeeded"]
    assert len({*succeeded}) == len(succeeded) == 3
    assert output.splitlines()[-1].startswith("Next: ")
    assert not listens(port_of_server(output))
    assert list(tmp_path.iterdir()) == []


def test_it_takes_no_notice_of_the_settings_of_another_server(start: Start, tmp_path: Path) -> None:
    process = start(
        OCTOHOOKS_LISTEN="nonsense",
        OCTOHOOKS_API_KEY="of-another-server",
        OCTOHOOKS_TARGET="nowhere.invalid:1",
    )
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize(("signal_", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_stops_everything_quietly(
    start: Start, tmp_path: Path, signal_: signal.Signals, exit_code: int
) -> None:
    process = start()
    assert process.stdout is not None
    port = port_of_server(process.stdout.readline())
    assert listens(port)
    process.send_signal(signal_)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (exit_code, "")
    assert not listens(port)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_start_is_told_with_the_reason(
    start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packages = tmp_path_factory.mktemp("packages")
    # As if it were not installed: the demo does not need it itself, its server does.
    missing = 'raise ModuleNotFoundError("structlog is missing", name="structlog")\n'
    (packages / "structlog.py").write_text(missing)
    process = start(PYTHONPATH=str(packages))
    output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors == (
        "Error: the server did not start: the package structlog is missing; the server needs"
        " `pip install 'octohooks[server]'`.\n"
    )
