"""A real server, and in it an environment for each page."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from octohooks import AsyncOctohooks

from tests.acceptance.process import OPERATOR_KEY, ServerProcess, running_server
from tests.receivers import Receiver


@dataclass(frozen=True)
class Place:
    """Where the examples of a page run."""

    target: str
    api_key: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
async def place(server: ServerProcess) -> Place:
    """An environment that is the test's own."""
    async with AsyncOctohooks(OPERATOR_KEY, target=server.address) as operator:
        environment = await operator.environment.create("Documents")
        made = await operator.api_key.create(environment=environment.id)
    return Place(server.address, made.key)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """What stands for every receiver in the documents: it answers 200 to everything."""
    async with Receiver() as receiver:
        yield receiver
