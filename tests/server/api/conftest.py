"""One server for all tests that need none of their own, and an environment for each test.

Server and tests share the loop of the session, so tests that use these fixtures are marked with
`pytest.mark.asyncio(loop_scope="session")`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application

from tests.postgresql import Cluster
from tests.receivers import Receiver
from tests.server.api.calls import Api
from tests.server.api.home import Home
from tests.server.api.serving import Server, Tenant, serving

NewHome = Callable[[], AbstractAsyncContextManager[Home]]


@pytest.fixture(scope="session")
def new_home(
    database_kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NewHome:
    """Makes places for servers, with a database of the kind that the test is run on."""

    @asynccontextmanager
    async def new_home() -> AsyncIterator[Home]:
        folder = tmp_path_factory.mktemp("home")
        if database_kind == "sqlite":
            yield Home(folder)
            return
        cluster: Cluster = request.getfixturevalue("cluster")
        async with cluster.database() as url:
            yield Home(folder, url)

    return new_home


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(new_home: NewHome) -> AsyncIterator[Server]:
    """A server that other tests use too."""
    async with new_home() as home, serving(home) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def home(new_home: NewHome) -> AsyncIterator[Home]:
    """A place for servers of the test's own."""
    async with new_home() as home:
        yield home


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(server: Server) -> Tenant:
    """An environment of the test's own."""
    return await server.new_tenant()


@pytest_asyncio.fixture(loop_scope="session")
async def other_tenant(server: Server) -> Tenant:
    """Another environment of the test's own."""
    return await server.new_tenant()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_tenant(server: Server) -> Tenant:
    """An environment for tests to which it makes no difference what is in it."""
    return await server.new_tenant()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def refusing(server: Server) -> Api:
    """The API for an environment that tests are refused by, so that it stays as it is.

    It has the application `acme` with the endpoints `main` and `off`, which is disabled, and the
    message `m`, which waits.
    """
    tenant = await server.new_tenant()
    octohooks = tenant.octohooks
    await octohooks.application.create(uid="acme")
    url = "https://example.com/hook"
    await octohooks.endpoint.create("acme", url=url, uid="main", retry_schedule=[24 * 3600])
    await octohooks.endpoint.create("acme", url=url, uid="off", disabled=True)
    await octohooks.message.create("acme", event_type="e", payload={}, uid="m")
    return tenant.api


@pytest.fixture
def api(tenant: Tenant) -> Api:
    """The API for a key of the test's own environment."""
    return tenant.api


@pytest.fixture
def octohooks(tenant: Tenant) -> AsyncOctohooks:
    """The SDK with a key of the test's own environment."""
    return tenant.octohooks


@pytest_asyncio.fixture(loop_scope="session")
async def acme(octohooks: AsyncOctohooks) -> Application:
    """An application of the test's own environment, with the UID `acme`."""
    return await octohooks.application.create(uid="acme")


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 200 to everything."""
    async with Receiver() as receiver:
        yield receiver
