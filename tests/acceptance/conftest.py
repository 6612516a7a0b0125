"""Servers, clients and receivers; what a server logged is shown with a test that fails."""

import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
from octohooks import AsyncOctohooks

from tests.acceptance.process import ServerProcess, running_server, starting_servers
from tests.acceptance.process import StartServer as StartServer
from tests.receivers import Receiver

_SERVERS = pytest.StashKey[list[ServerProcess]]()
_SHOWN_LINES = 40
# For a test, with all the processes that it starts: on a busy machine each takes many seconds.
_MOST_SECONDS = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the tests of this folder more time than others have."""
    for item in items:
        is_here = item.path.is_relative_to(Path(__file__).parent)
        if is_here and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_MOST_SECONDS))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that neither stop it nor need settings of their own."""
    with running_server(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def server(shared_server: ServerProcess, request: pytest.FixtureRequest) -> ServerProcess:
    """A server that other tests use too; what they make is in other applications."""
    _note(request.node, shared_server)
    return shared_server


@pytest.fixture
def start_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Starts servers of the test's own, each on a folder of its own, with the settings given."""
    with starting_servers(tmp_path, partial(_note, request.node)) as start:
        yield start


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[AsyncOctohooks]:
    """A client with a key of the `Development` environment of `server`."""
    async with server.connect() as client:
        yield client


@pytest.fixture
async def application(client: AsyncOctohooks) -> str:
    """The ID of an application that is the test's own."""
    made = await client.application.create(uid=f"customer-{uuid.uuid4().hex}", name="A customer")
    return made.id


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 200 to everything."""
    async with Receiver() as receiver:
        yield receiver


def _note(item: pytest.Item, server: ServerProcess) -> None:
    item.stash.setdefault(_SERVERS, []).append(server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the test's servers printed last to the report of a failure."""
    report = yield
    if report.failed:
        for server in item.stash.get(_SERVERS, []):
            last = "\n".join(server.output[-_SHOWN_LINES:])
            report.sections.append((f"server on {server.data_dir}", last))
    return report
