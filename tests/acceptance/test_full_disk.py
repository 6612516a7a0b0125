"""A disk that is full never produces a false OK."""

import resource
import sys
from pathlib import Path

import octohooks
import pytest
from octohooks import AsyncOctohooks

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import ServerProcess

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits the files of another process"
)

_PAYLOAD = b'"' + b"x" * 100_000 + b'"'


async def test_what_a_full_disk_refuses_is_not_stored_and_what_was_accepted_is(
    start_server: StartServer,
) -> None:
    server = await start_server()
    async with AsyncOctohooks(server.api_key, target=server.address) as client:
        application = (await client.application.create()).id
        _let_files_grow_by(server, 1_000_000)
        accepted: set[str] = set()
        refused = None
        while refused is None:
            try:
                accepted.add(await _send(client, application))
            except octohooks.ResourceExhausted as error:
                refused = error
        assert refused.reason == "STORAGE_FULL"

        _let_files_grow_by(server, None)
        accepted.add(await _send(client, application))
        assert {one.id async for one in client.message.list(application)} == accepted
        await server.kill()
        await server.restart()
        assert {one.id async for one in client.message.list(application)} == accepted


async def _send(client: AsyncOctohooks, application: str) -> str:
    made = await client.message.create(application, event_type="big", payload=_PAYLOAD)
    return made.id


def _let_files_grow_by(server: ServerProcess, size: int | None) -> None:
    """Bounds each file of the server, as a full disk would; None takes the bound away."""
    largest = max(path.stat().st_size for path in _files(server.data_dir))
    bound = resource.RLIM_INFINITY if size is None else largest + size
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (bound, resource.RLIM_INFINITY))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]
