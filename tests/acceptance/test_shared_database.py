"""Any number of servers on one PostgreSQL database are one Octohooks."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.conftest import StartServer
from tests.acceptance.shared_database import fleet
from tests.postgresql import Cluster


@pytest.fixture
async def database_url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    name = await cluster.create_empty()
    yield cluster.url(name)
    await cluster.drop(name)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [2, 4])
async def test_servers_that_share_a_database_deliver_everything_once(
    start_server: StartServer, database_url: str, count: int
) -> None:
    """10,000 messages, each accepted by one of the servers and delivered by one of them."""
    async with fleet(start_server, database_url, count) as servers:
        await servers.publish(10_000)
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[-1])
        assert len(servers.accepted) == 10_000
        assert servers.arrivals() == dict.fromkeys(servers.accepted, 1)


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_one_of_them_is_killed_and_another_sleeps_past_its_lease(
    start_server: StartServer, database_url: str
) -> None:
    """What they had in flight is taken over; what the sleeper still says changes nothing."""
    async with fleet(
        start_server, database_url, 4, request_timeout="1", lease="6", max_in_flight="50"
    ) as servers:
        killed, sleeper, *others = servers.servers
        publishing = asyncio.create_task(servers.publish(6_000, others))
        await servers.publish(400, [killed])
        await killed.kill()
        await servers.publish(400, [sleeper])
        sleeper.signal(signal.SIGSTOP)
        await publishing
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(others[0])
        sleeper.signal(signal.SIGCONT)
        # It has noticed that its claims are over once it delivers again.
        before = set(servers.accepted)
        await servers.publish(100, [sleeper])
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(others[0])
        assert len(servers.accepted) == 6_900
        arrivals = servers.arrivals()
        assert set(arrivals) == servers.accepted
        # No more than what the two had in flight came a second time.
        assert {message for message, times in arrivals.items() if times > 1} <= before
        assert sum(arrivals.values()) <= len(servers.accepted) + 2 * 50
        async with servers.client(others[0]) as client:
            listed = [one async for one in client.attempt.list(page_size=250)]
        # And each attempt is recorded under a number of its own.
        numbers = {(attempt.message, attempt.number) for attempt in listed}
        assert len(numbers) == len(listed)
        assert {message for message, _ in numbers} == servers.accepted
