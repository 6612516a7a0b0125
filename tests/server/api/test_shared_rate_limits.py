"""A rate limit is one, however many servers deliver."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from octohooks import AsyncOctohooks

from tests.postgresql import Cluster
from tests.receivers import Receiver
from tests.server.api.home import Home
from tests.server.api.serving import Tenant, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

PER_SECOND = 20
COUNT = 40
# Each server may send one at once, and a tenth of a second's worth more than the limit.
LEAST_SECONDS = (COUNT - 2) / PER_SECOND / 1.1


@pytest_asyncio.fixture(loop_scope="session")
async def tenants(cluster: Cluster, tmp_path: Path) -> AsyncIterator[list[Tenant]]:
    """The same environment at each of two servers on one database."""
    async with cluster.database() as url, AsyncExitStack() as stack:
        home = Home(tmp_path, url)
        servers = [await stack.enter_async_context(serving(home)) for _ in range(2)]
        tenant = await servers[0].new_tenant()
        yield [await server.tenant(tenant.id, tenant.key) for server in servers]


@pytest.mark.parametrize("of", ["endpoint", "application"])
async def test_two_servers_share_a_limit(
    tenants: list[Tenant], receiver: Receiver, of: str
) -> None:
    one = tenants[0].octohooks
    limits = {of: PER_SECOND}
    await one.application.create(uid="acme", rate_limit=limits.get("application", 0))
    await one.endpoint.create("acme", url=receiver.url, rate_limit=limits.get("endpoint", 0))

    async def send(client: AsyncOctohooks) -> list[str]:
        return [
            (await client.message.create("acme", event_type="e", payload={})).id
            for _ in range(COUNT // 2)
        ]

    began = time.monotonic()
    sent = await asyncio.gather(*(send(tenant.octohooks) for tenant in tenants))
    arrived = Counter([(await receiver.next_request()).header("webhook-id") for _ in range(COUNT)])
    # At the least: a slow machine only takes longer.
    assert time.monotonic() - began >= LEAST_SECONDS
    assert arrived == Counter([*sent[0], *sent[1]])
