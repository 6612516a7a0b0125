"""The command line against a fake server: in this process, or as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from octohooks_cli.app import app
from typer.testing import CliRunner, Result

from tests.sdk.fake_server import FakeServer


class Run(Protocol):
    """Runs `octohooks` with the arguments until it ends."""

    def __call__(self, *arguments: str, input: str = "", env: dict[str, str] = ...) -> Result: ...


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("OCTOHOOKS_")]:
        monkeypatch.delenv(name)
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def run(server: FakeServer) -> Run:
    """Runs a command against the fake server, in this process and without a terminal."""

    def run(*arguments: str, input: str = "", env: dict[str, str] | None = None) -> Result:
        surroundings = {
            "OCTOHOOKS_API_KEY": "key",
            "OCTOHOOKS_TARGET": server.target,
            **(env or {}),
        }
        return CliRunner().invoke(
            app, list(arguments), input=input, env=surroundings, catch_exceptions=False
        )

    return run


@pytest.fixture
def start(server: FakeServer) -> Iterator[Start]:
    """Starts a command as a process of its own that talks to the fake server."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "octohooks_cli", *arguments],
            env={**os.environ, "OCTOHOOKS_API_KEY": "key", "OCTOHOOKS_TARGET": server.target},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
