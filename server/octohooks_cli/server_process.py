"""A server of its own for the demo: a process with its data in a folder, on a free port."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from octohooks_cli.failures import CommandFailed

# What `octohooks serve` prints for people when it starts for the first time.
_ADDRESS = re.compile(r"serves gRPC at (\S+)")
_API_KEY = re.compile(r"OCTOHOOKS_API_KEY=(\S+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that answers, and the key of its first environment."""

    target: str
    api_key: str


@asynccontextmanager
async def server_process(folder: Path) -> AsyncIterator[ServerProcess]:
    """A server that sends to this machine, as long as the block lasts; its log is in the folder.

    Raises:
        CommandFailed: it does not start.
    """
    settings = {
        "OCTOHOOKS_LISTEN": "127.0.0.1:0",
        "OCTOHOOKS_DATA_DIR": str(folder / "data"),
        "OCTOHOOKS_ALLOWED_SUBNETS": "127.0.0.0/8",
    }
    surroundings = {
        name: value for name, value in os.environ.items() if not name.startswith("OCTOHOOKS_")
    }
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "octohooks_cli", "serve"),
            env={**surroundings, **settings},
            stdout=PIPE,
            stderr=log,
            # Ctrl-C is for the demo, which stops the server when it is done with it.
            start_new_session=True,
        )
    try:
        server = await _started(process)
        if server is None:
            # To signal a process that has ended would take its end away from asyncio.
            await process.wait()
            raise CommandFailed(f"the server did not start: {_last_line(log_path)}")
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _started(process: Process) -> ServerProcess | None:
    """The server, once it has said all that one needs to know; None when it ends before."""
    assert process.stdout is not None
    greeting = ""
    async for line in process.stdout:
        greeting += line.decode(errors="replace")
        address, api_key = _ADDRESS.search(greeting), _API_KEY.search(greeting)
        if address and api_key:
            return ServerProcess(address[1], api_key[1])
    return None


def _last_line(path: Path) -> str:
    *_, last = ["it logged nothing.", *path.read_text(errors="replace").splitlines()]
    return last.removeprefix("Error: ")
