"""The SDK, built, and a real server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.process import OPERATOR_KEY, ServerProcess, running_server
from tests.typescript import node


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the test run share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker has a folder of its own in the one of the run.
        folder = folder.parent
    folder = folder / "typescript"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def sdk(shared_folder: Path) -> Path:
    """The folder of the SDK, with `dist` and the compiled tests in `build`."""
    node.build(shared_folder)
    return node.SDK


@pytest.fixture(scope="session")
def consumer(shared_folder: Path) -> Path:
    """A folder with the packed SDK as its only package."""
    return node.install_package(shared_folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may send to loopback."""
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def operator(server: ServerProcess) -> dict[str, str]:
    """The variables of a client with the operator's key."""
    return {"OCTOHOOKS_TARGET": server.address, "OCTOHOOKS_API_KEY": OPERATOR_KEY}
