"""A real server, and a key for it."""

from collections.abc import Iterator

import pytest

from tests.acceptance.process import ServerProcess, running_server


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def known(server: ServerProcess) -> dict[str, str]:
    """What stands in the examples for the key and the server, with those of this run."""
    return {"AUTH_TOKEN": server.api_key, "localhost:50051": server.address}
