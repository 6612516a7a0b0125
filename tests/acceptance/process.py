"""A real server in a process of its own."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from octohooks import AsyncOctohooks

# Calls with this channel option are made once; a client repeats what is unavailable by itself.
WITHOUT_RETRIES = ("grpc.enable_retries", 0)

IMPATIENT = (
    # Else clients in one process share the wait before they connect anew.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
)

OPERATOR_KEY = "the-operator-key-of-the-acceptance-tests"

# For a call, of which a busy machine may need many.
_SECONDS = 50

_ADDRESS = re.compile(r"Octohooks serves gRPC at (\S+)")
_API_KEY = re.compile(r"export OCTOHOOKS_API_KEY=(\S+)")


class ServerEnded(Exception):
    """The process ended before it did what was waited for."""


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """The variables of a server on this folder that may send to loopback and takes a free port.

    `settings` are more of them, without their prefix and in lower case; an empty one unsets.
    """
    variables = {
        "data_dir": str(data_dir),
        "listen": "127.0.0.1:0",
        "operator_key": OPERATOR_KEY,
        "allowed_subnets": "127.0.0.0/8",
        "log_format": "json",
        "log_level": "info",
        **settings,
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OCTOHOOKS_")}
    return inherited | {f"OCTOHOOKS_{name.upper()}": value for name, value in variables.items()}


class ServerProcess:
    """`python -m octohooks_server` on a data folder; can be stopped in every way, and restarted."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        """`settings` as `environment` takes them."""
        self.data_dir = data_dir
        self.address = ""
        # Only the first start on a folder shows it; it stays known over restarts.
        self.api_key = ""
        self.output: list[str] = []
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None
        self._changed = threading.Condition()
        # Who waits for output in an event loop; a thread would outlive a test that gives up.
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._ended = False
        self._held_port: socket.socket | None = None

    def connect(self, api_key: str | None = None, **options: Any) -> AsyncOctohooks:
        """A client with the key that the first start showed, unless another one is given.

        It connects anew at once when the server is back, whatever other clients met, and is more
        patient than clients are by themselves.
        """
        options.setdefault("channel_options", ())
        options["channel_options"] = (*IMPATIENT, *options["channel_options"])
        options.setdefault("target", self.address)
        options.setdefault("timeout", _SECONDS)
        return AsyncOctohooks(api_key or self.api_key, **options)

    @property
    def pid(self) -> int:
        """The process's ID."""
        assert self._process is not None
        return self._process.pid

    async def start(self, **settings: str) -> None:
        """Starts, with these settings beside the ones before, and returns once calls are served."""
        self._settings |= settings
        self._spawn()
        await self.logged("serving")
        self._let_port_go()

    async def restart(self, **settings: str) -> None:
        """Starts again on the same folder and, unless told otherwise, at the same port."""
        await self.start(**{"listen": self.address, **settings})

    def start_blocking(self) -> None:
        """`start`, for where no event loop runs."""
        self._spawn()
        with self._changed:
            while not self.logs("serving"):
                if self._ended:
                    raise ServerEnded(self.text())
                self._changed.wait()

    def _spawn(self) -> None:
        assert self._process is None, "it runs already"
        self.output = []
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "octohooks_server"],
            env=environment(self.data_dir, **self._settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Into one pipe, so that the lines stay in order.
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._pump = threading.Thread(target=self._read_output, daemon=True)
        self._pump.start()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal and waits for nothing."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stops the process where it is; when this returns, none of its threads runs any more."""
        self.signal(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def thaw(self) -> None:
        """Lets a frozen process go on."""
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Ends the process as a crash does."""
        self.signal(signal.SIGKILL)
        await self.exited()

    async def stop(self) -> int:
        """Ends the process in order; answers its exit code."""
        self.signal(signal.SIGTERM)
        return await self.exited()

    async def exited(self) -> int:
        """Waits for the process to end; answers its exit code."""
        while not self._ended:
            await self._output_beyond(len(self.output))
        code = self._reap()
        self._hold_port()
        return code

    def discard(self) -> None:
        """Ends the process, if it still runs, at the end of a test."""
        if self._process is not None:
            self._process.kill()
            self._reap()
        self._let_port_go()

    def _hold_port(self) -> None:
        """Keeps the port from others until the next start, which may be at it.

        Whoever asks the system for any port does not get it. Where it is asked for by its number,
        as the next start does, Linux lets two have it of whom one does not listen.
        """
        host, _, port = self.address.rpartition(":")
        if sys.platform == "linux" and port and self._held_port is None:
            self._held_port = socket.socket()
            self._held_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Workers that outlive the one that watched over them may still be there.
            with contextlib.suppress(OSError):
                self._held_port.bind((host, int(port)))

    def _let_port_go(self) -> None:
        if self._held_port is not None:
            self._held_port.close()
            self._held_port = None

    def has_unread(self, size: int) -> bool:
        """Whether connections to its port hold at least so many bytes that it has not read."""
        port = int(self.address.rpartition(":")[2])
        held = 0
        for table in ("tcp", "tcp6"):
            for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]:
                _, local, _, _, queues, *_ = line.split()
                if int(local.partition(":")[2], 16) == port:
                    held += int(queues.partition(":")[2], 16)
        return held >= size

    def _reap(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._pump is not None
        code = self._process.wait()
        self._pump.join()
        self._process.stdout.close()
        self._process = None
        return code

    async def logged(self, event: str, **fields: object) -> Mapping[str, Any]:
        """The first log line of this run with this event and these fields; waits for it.

        ServerEnded when the process ends without it.
        """
        (line,) = await self.logged_often(1, event, **fields)
        return line

    async def logged_often(
        self, count: int, event: str, **fields: object
    ) -> Sequence[Mapping[str, Any]]:
        """As `logged`, the first so many lines."""
        wanted = {"event": event, **fields}
        found: list[Mapping[str, Any]] = []
        looked_at = 0
        while True:
            ended = self._ended
            lines = self.output[looked_at:]
            for line in map(_parsed, lines):
                if wanted.items() <= line.items():
                    found.append(line)
                    if len(found) == count:
                        return found
            if ended:
                raise ServerEnded(f"{len(found)} of {count} {wanted} in:\n{self.text()}")
            looked_at += len(lines)
            await self._output_beyond(looked_at)

    def logs(self, event: str) -> list[Mapping[str, Any]]:
        """The log lines of this run with this event, so far."""
        return [line for line in map(_parsed, list(self.output)) if line.get("event") == event]

    def text(self) -> str:
        """All that this run printed and logged so far."""
        return "\n".join(self.output)

    async def _output_beyond(self, count: int) -> None:
        """Returns once there are more lines than this, or the process has ended."""
        event = asyncio.Event()
        with self._changed:
            if self._ended or len(self.output) > count:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()

    def _read_output(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._tell(line.rstrip("\n"))
        self._tell(None)

    def _tell(self, line: str | None) -> None:
        """Takes a line in, or the end, and wakes whoever waits for it."""
        with self._changed:
            if line is None:
                self._ended = True
            else:
                self._take_in(line)
            self._changed.notify_all()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            # The loop of a test that gave up is closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def _take_in(self, line: str) -> None:
        self.output.append(line)
        if found := _ADDRESS.search(line):
            self.address = found[1]
        if found := _API_KEY.search(line):
            self.api_key = found[1]


StartServer = Callable[..., Awaitable[ServerProcess]]


@contextlib.contextmanager
def starting_servers(
    folder: Path, note: Callable[[ServerProcess], None] = lambda server: None
) -> Iterator[StartServer]:
    """What starts servers, each on a folder of its own, with the settings given.

    `note` is told of each before it starts; all are discarded when the block ends.
    """
    started: list[ServerProcess] = []

    async def start(**settings: str) -> ServerProcess:
        server = ServerProcess(folder / f"server-{len(started)}", **settings)
        started.append(server)
        note(server)
        await server.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            server.discard()


@contextlib.contextmanager
def running_server(data_dir: Path, **settings: str) -> Iterator[ServerProcess]:
    """A server that runs while the block does, for where no event loop runs."""
    server = ServerProcess(data_dir, **settings)
    try:
        server.start_blocking()
        yield server
    finally:
        server.discard()


def _parsed(line: str) -> Mapping[str, Any]:
    """A log line's fields; none for what is no log line."""
    if not line.startswith("{"):
        return {}
    fields: Mapping[str, Any] = json.loads(line)
    return fields
