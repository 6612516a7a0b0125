"""Terminals in which a test types the commands of a document."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.docs.markdown import ROOT
from tests.docs.printed import Shown


def surroundings(**variables: str) -> dict[str, str]:
    """The variables of a new terminal: nothing of Octohooks', and nothing of a make around us."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OCTOHOOKS_", "MAKE", "MFLAGS")) and name not in ("ARGS", "COLUMNS")
    }
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return {**inherited, "PATH": path, **variables}


class Terminal:
    """A shell in the repository that remembers what was exported, and one program at a time that
    stays."""

    def __init__(self, variables: Mapping[str, str], log: Path) -> None:
        """Standard error goes to the file `log`."""
        self._variables = dict(variables)
        self._log = log
        self._said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []
        self._seen = 0
        self._ended = False
        self._changed = threading.Condition()

    def run(self, script: str) -> str:
        """Runs commands to their end; answers what they printed."""
        with self._log.open("a") as log:
            done = subprocess.run(
                self._command(script),
                cwd=ROOT,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert done.returncode == 0, f"{script}\n{self._log.read_text()}"
        return done.stdout

    def start(self, script: str) -> None:
        """Starts a program that stays."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command(script),
                cwd=ROOT,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # All that it starts ends with it.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def expect(self, shown: Shown, text: str) -> None:
        """Waits until the program has printed these lines next, and nothing else before."""
        for line in text.rstrip().split("\n"):
            with self._changed:
                self._changed.wait_for(lambda: len(self._lines) > self._seen or self._ended)
                assert len(self._lines) > self._seen, f"it ended:\n{self._log.read_text()}"
                printed = self._lines[self._seen]
                self._seen += 1
            assert shown.fits(line, printed), f"shown:   {shown.actual(line)}\nprinted: {printed}"

    def find(self, pattern: str) -> str:
        """What stands behind this text on a line that the program has printed."""
        (line,) = [line for line in self._lines if pattern in line]
        return line.partition(pattern)[2]

    def close(self) -> None:
        """Ends the program that stays, if there is one."""
        if self._process is None or self._reader is None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _command(self, script: str) -> list[str]:
        self._said += [line for line in script.split("\n") if line.startswith(("export ", ". "))]
        return ["sh", "-ec", "\n".join([*self._said, script])]

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Terminals:
    """The terminals of a reader, by their numbers."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        """Their standard error goes to files in the folder."""
        self._folder = folder
        self._variables = variables
        self._all: dict[str, Terminal] = {}

    def __getitem__(self, number: str) -> Terminal:
        if number not in self._all:
            log = self._folder / f"terminal-{number}.log"
            self._all[number] = Terminal(self._variables, log)
        return self._all[number]

    def close(self) -> None:
        for terminal in reversed(self._all.values()):
            terminal.close()


def free_port() -> int:
    """A port of this machine that nobody listens at. It is below those that systems give out by
    themselves, so that nobody gets it who does not ask for it."""
    while True:
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
