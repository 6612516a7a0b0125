"""The server under measurement, in processes of its own."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from grpc.aio import insecure_channel

from benchmarks import processes

OPERATOR_KEY = "the-operator-key-of-the-benchmarks"

_MOST_SECONDS_TO_START = 30.0
_ADDRESS = re.compile(rb"Octohooks serves gRPC at (\S+)")


class ServerFailed(Exception):
    """The server ended before it served, or not in order; the text is the end of its log."""


class Server:
    """Servers on one database: one for each role."""

    def __init__(
        self, data_dir: Path, roles: Sequence[str], workers: int, settings: Mapping[str, str]
    ) -> None:
        """`settings` are more of them, without their prefix and in lower case."""
        self._data_dir = data_dir
        self._log = data_dir / "log"
        self._settings = {
            "data_dir": str(data_dir),
            "listen": "127.0.0.1:0",
            "operator_key": OPERATOR_KEY,
            "allowed_subnets": "127.0.0.0/8",
            "log_format": "json",
            **settings,
        }
        if workers > 1:
            self._settings["workers"] = str(workers)
        self._roles = roles
        self._processes: list[asyncio.subprocess.Process] = []
        # Where calls are taken.
        self.address = ""

    async def start(self) -> None:
        """Returns once calls are served."""
        for role in self._roles:
            address = await self._start_one(role)
            if role != "delivery":
                self.address = address
        # Workers are still to begin when their address is told.
        async with asyncio.timeout(_MOST_SECONDS_TO_START), insecure_channel(self.address) as one:
            await one.channel_ready()

    async def _start_one(self, role: str) -> str:
        settings = dict(self._settings)
        if role != "all":
            settings["role"] = role
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OCTOHOOKS_")}
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "octohooks_server",
                env=inherited | {f"OCTOHOOKS_{k.upper()}": v for k, v in settings.items()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._processes.append(process)
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if found := _ADDRESS.search(line):
                return found[1].decode()
        await process.wait()
        raise ServerFailed(self._end_of_log())

    async def stop(self) -> None:
        """Ends it in order; ServerFailed when it does not."""
        stopping, self._processes = self._processes, []
        for process in stopping:
            process.send_signal(signal.SIGTERM)
        codes = [await process.wait() for process in stopping]
        if any(codes):
            raise ServerFailed(self._end_of_log())

    async def kill(self) -> None:
        """Ends what still runs of it."""
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._processes:
            await process.wait()
        self._processes = []

    @property
    def pids(self) -> list[int]:
        """All of its processes."""
        running = (one.pid for one in self._processes if one.returncode is None)
        return [pid for one in running for pid in processes.family(one)]

    def cpu_seconds(self) -> float:
        """CPU time since the start."""
        return processes.cpu_seconds(self.pids)

    def memory_bytes(self) -> int:
        """Resident memory at the moment."""
        return processes.memory_bytes(self.pids)

    def peak_memory_bytes(self) -> int:
        """The most resident memory since the start."""
        return processes.peak_memory_bytes(self.pids)

    def _end_of_log(self) -> str:
        return self._log.read_text("utf-8", errors="replace")[-4_000:]
