"""Test equipment in processes of its own, which is told what to do by lines of JSON."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
# An answer may list every message of a run.
_LONGEST_LINE = 1 << 30


class EquipmentFailed(Exception):
    """The test equipment broke; what was measured means nothing."""


class Equipment:
    """A module of the benchmarks that runs as a process and answers one request at a time."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process

    @classmethod
    @asynccontextmanager
    async def running(cls, module: str) -> AsyncIterator["Equipment"]:
        """`python -m module`, while the block runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            cwd=_ROOT,
        )
        try:
            yield cls(module, process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        """The process's ID."""
        return self._process.pid

    async def ask(self, action: str, **arguments: Any) -> Any:
        """Has it do something and answers the result; EquipmentFailed when it ends instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([action, arguments]).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise EquipmentFailed(f"{self._name} ended; what it said is above")
        return json.loads(line)


async def serve(actions: dict[str, Callable[..., Awaitable[Any]]]) -> None:
    """In the equipment's process: does what it is asked until nobody can ask any more."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        action, arguments = json.loads(line)
        answer = await actions[action](**arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
