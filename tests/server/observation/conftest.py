"""A server whose metrics can be read, for all tests of this folder."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from octohooks_server.observation import backlog

from tests.server.api.conftest import NewHome, home, new_home, receiver
from tests.server.api.serving import Server, Tenant, serving
from tests.server.observation.scrape import Scrape, scrape

__all__ = ["home", "new_home", "receiver"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def observed(new_home: NewHome) -> AsyncIterator[Server]:
    """A server that other tests use too; it makes one attempt at a time at each endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        # Each scrape shows the database as it is.
        patch.setattr(backlog, "_SECONDS_BETWEEN_READINGS", 0.0)
        async with (
            new_home() as home,
            serving(home, metrics_listen="127.0.0.1:0", max_in_flight_per_endpoint=1) as server,
        ):
            yield server


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(observed: Server) -> Tenant:
    """An environment of the test's own, with the application `acme`."""
    tenant = await observed.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    return tenant


@pytest_asyncio.fixture(loop_scope="session")
async def before(observed: Server) -> Scrape:
    """The metrics at the test's beginning."""
    return await scrape(observed)
