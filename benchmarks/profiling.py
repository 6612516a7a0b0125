"""Where the server's time goes, as a flame graph by py-spy."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

_TITLE = re.compile(r'(<text id="title"[^>]*>)[^<]*')
PY_SPY = Path(sys.executable).with_name("py-spy")
# Per second; more would slow the server down.
_SAMPLES = 200


@asynccontextmanager
async def profiled(pids: Sequence[int], folder: Path | None, name: str) -> AsyncIterator[None]:
    """Samples processes while the block runs, unless there is no folder for the pictures."""
    async with AsyncExitStack() as stack:
        for number, pid in enumerate(pids if folder is not None else ()):
            assert folder is not None
            file = folder / (f"{name}.svg" if len(pids) == 1 else f"{name}-{number}.svg")
            await stack.enter_async_context(_recording(pid, file, f"Octohooks, {name}"))
        yield


@asynccontextmanager
async def _recording(pid: int, file: Path, title: str) -> AsyncIterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(str(PY_SPY), "record", "--pid", str(pid), "--output", str(file)),
        # Stopping the server for each sample would change what is measured; only code that holds
        # the interpreter's lock is sampled, else waiting for events would count as work.
        *("--rate", str(_SAMPLES), "--nonblocking", "--gil"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        # It writes what it has.
        process.send_signal(signal.SIGINT)
        await process.wait()
        # Its own title is the command, with the paths of this machine.
        svg = await asyncio.to_thread(file.read_text, "utf-8")
        await asyncio.to_thread(file.write_text, _TITLE.sub(rf"\g<1>{title}", svg), "utf-8")
