"""Any number of servers on one PostgreSQL database are one Octohooks."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest
from octohooks import OctohooksError

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempt, next_cancelled
from tests.acceptance.receiving import answer_after
from tests.acceptance.shared_database import fleet
from tests.postgresql import Cluster
from tests.receivers import Receiver
from tests.waiting import eventually

_A_SESSION_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
# How many messages go through servers without a fault; `make soak` asks for 10,000.
MESSAGES = int(os.environ.get("OCTOHOOKS_TESTS_MESSAGES", "2500"))


@pytest.fixture
async def database_url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    name = await cluster.create_empty()
    yield cluster.url(name)
    await cluster.drop(name)


@pytest.fixture
def own_cluster() -> Cluster:
    """A PostgreSQL server of the test's own, which keeps what it says it keeps."""
    return Cluster(Path(tempfile.gettempdir()) / f"octohooks-tests-{uuid.uuid4().hex}", "")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [2, 4])
async def test_servers_that_share_a_database_deliver_everything_once(
    start_server: StartServer, database_url: str, count: int
) -> None:
    """Each message is accepted by one of the servers and delivered by one of them."""
    async with fleet(start_server, database_url, count) as servers:
        await servers.publish(MESSAGES)
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[-1])
        assert len(servers.accepted) == MESSAGES
        assert servers.arrivals() == dict.fromkeys(servers.accepted, 1)


@pytest.mark.timeout(240)
async def test_a_restart_of_postgresql_in_the_middle_needs_no_restart_of_the_servers(
    start_server: StartServer, own_cluster: Cluster
) -> None:
    """Nothing is lost; what was in flight comes twice at the most."""
    url = own_cluster.url(await own_cluster.create_empty())
    async with fleet(start_server, url, 2, request_timeout="1", lease="6") as servers:
        await servers.publish(500)
        publishing = asyncio.create_task(servers.publish(2_000))
        for _ in range(100):
            await servers.receiver.next_request()
        await own_cluster.restart()
        await publishing
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[0])
        arrivals = servers.arrivals()
        assert len(servers.accepted) == 2_500
        # What was accepted although its answer was lost arrives under the key of the repetition.
        assert set(arrivals) == servers.accepted
        for server in servers.servers:
            assert await server.stop() == 0


async def test_an_endpoint_that_one_server_disables_gets_nothing_more_from_another(
    start_server: StartServer, database_url: str
) -> None:
    gate = asyncio.Event()
    async with (
        Receiver(answer_after(gate)) as receiver,
        fleet(start_server, database_url, 2, max_in_flight_per_endpoint="1") as servers,
    ):
        one, other = servers.servers
        async with servers.client(one) as at_one, servers.client(other) as at_other:
            await at_one.application.create(uid="acme")
            await at_one.endpoint.create("acme", url=receiver.url, uid="main")
            async with at_one.attempt.watch(application="acme") as watch:
                await watch.wait_until_live()
                sent = [
                    await at_other.message.create("acme", event_type="a.b", payload={})
                    for _ in range(5)
                ]
                first = await receiver.next_request()
                await at_one.endpoint.update("acme", "main", disabled=True)
                waiting = {message.id for message in sent} - {first.header("webhook-id")}
                while waiting:
                    waiting.discard((await next_cancelled(watch)).message)
                gate.set()
                await next_attempt(watch)
        assert len(receiver.requests) == 1


async def test_calls_and_deliveries_can_be_left_to_servers_of_their_own(
    start_server: StartServer, database_url: str
) -> None:
    async with fleet(start_server, database_url, 1, role="api") as servers:
        deliverer = await start_server(database_url=database_url, role="delivery")
        await servers.publish(200)
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[0])
        assert servers.arrivals() == dict.fromkeys(servers.accepted, 1)
        assert not servers.servers[0].logs("draining")
        async with servers.client(deliverer) as client:
            with pytest.raises(OctohooksError) as refusal:
                await client.application.get("acme")
        assert refusal.value.code is grpc.StatusCode.UNIMPLEMENTED
        assert await deliverer.stop() == 0


async def test_what_was_left_to_a_server_that_died_is_delivered_by_the_next_one_at_once(
    start_server: StartServer, database_url: str
) -> None:
    """It has been claimed for whichever takes it, for longer than this test may take."""
    lease = "600"
    async with (
        fleet(start_server, database_url, 1, role="api", lease=lease) as servers,
        _asked(database_url) as ask,
    ):
        deliverer = await start_server(database_url=database_url, role="delivery", lease=lease)

        async def is_left_lying() -> bool:
            deliverer.freeze()
            await servers.publish(1)
            if await ask("SELECT count(*) FROM hand_overs"):
                return True
            # The one that takes calls did not know yet that there is one that delivers.
            deliverer.thaw()
            await servers.until_all_is_delivered()
            # What it had under way when it dies would wait for its lease.
            await servers.until_all_is_recorded(servers.servers[0])
            return False

        await eventually(is_left_lying)
        await deliverer.kill()
        await servers.publish(20)
        await start_server(database_url=database_url, role="delivery", lease=lease)
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[0])
        assert await ask("SELECT count(*) FROM hand_overs") == 0
        assert servers.arrivals() == dict.fromkeys(servers.accepted, 1)


@asynccontextmanager
async def _asked(database_url: str) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Gives what answers a question of one number to the database."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection.fetchval
    finally:
        await connection.close()


@pytest.mark.timeout(240)
async def test_a_server_that_freezes_in_a_transaction_holds_up_no_other_until_a_lease_ends(
    start_server: StartServer, database_url: str
) -> None:
    """It holds what every outcome of the environment needs, until PostgreSQL ends its session."""
    settings = {"request_timeout": "1", "lease": "6"}
    async with fleet(start_server, database_url, 2, **settings) as servers:
        frozen = await start_server(database_url=database_url, max_in_flight="5", **settings)
        publishing = asyncio.create_task(servers.publish(1_000, [frozen]))
        async with _numbers_of_events_held(database_url) as someone_waits:
            await eventually(someone_waits)
            frozen.freeze()
        # Its session has come to hold them now, and it does not go on.
        await servers.publish(2_000)
        publishing.cancel()
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[0])
        arrivals = servers.arrivals()
        # Only what the frozen one had under way came again.
        assert sum(arrivals.values()) <= len(arrivals) + 5


async def test_a_server_that_freezes_between_two_messages_to_postgresql_holds_up_no_other(
    start_server: StartServer, database_url: str
) -> None:
    """No timeout of PostgreSQL's ends its session then."""
    async with fleet(start_server, database_url, 1) as servers:
        frozen = await asyncpg.connect(
            database_url, server_settings={"application_name": "octohooks"}
        )
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT FROM environments FOR UPDATE")
        await frozen.prepare("SELECT 1")
        await servers.publish(10)
        await servers.until_all_is_recorded(servers.servers[0])
        frozen.terminate()


@asynccontextmanager
async def _numbers_of_events_held(
    database_url: str,
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Holds what whoever records an outcome needs; gives whether somebody waits for it."""
    connection = await asyncpg.connect(database_url)
    observer = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM environments FOR UPDATE")
            yield lambda: observer.fetchval(_A_SESSION_WAITS)
    finally:
        await connection.close()
        await observer.close()


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_one_of_them_is_killed_and_another_sleeps_past_its_lease(
    start_server: StartServer, database_url: str
) -> None:
    """What they had in flight is taken over; what the sleeper still says changes nothing."""
    async with fleet(
        start_server, database_url, 4, request_timeout="1", lease="6", max_in_flight="50"
    ) as servers:
        killed, sleeper, *others = servers.servers
        publishing = asyncio.create_task(servers.publish(1_500, others))
        await servers.publish(400, [killed])
        await killed.kill()
        await servers.publish(400, [sleeper])
        sleeper.freeze()
        await publishing
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(others[0])
        sleeper.thaw()
        # It has noticed that its claims are over once it delivers again.
        before = set(servers.accepted)
        await servers.publish(100, [sleeper])
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(others[0])
        assert len(servers.accepted) == 2_400
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


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_those_that_deliver_are_killed_or_sleep_past_their_lease(
    start_server: StartServer, database_url: str
) -> None:
    """What was left to them by those that take calls is taken over, or falls due again."""
    settings = {"request_timeout": "1", "lease": "6", "max_in_flight": "50"}
    async with fleet(start_server, database_url, 2, role="api", **settings) as servers:
        killed, sleeper, _ = await asyncio.gather(
            *(
                start_server(database_url=database_url, role="delivery", **settings)
                for _ in range(3)
            )
        )
        publishing = asyncio.create_task(servers.publish(2_000))
        for _ in range(300):
            await servers.receiver.next_request()
        await killed.kill()
        for _ in range(300):
            await servers.receiver.next_request()
        sleeper.freeze()
        await publishing
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[0])
        sleeper.thaw()
        await servers.publish(100)
        await servers.until_all_is_delivered()
        await servers.until_all_is_recorded(servers.servers[1])
        arrivals = servers.arrivals()
        assert set(arrivals) == servers.accepted
        # No more than what the two had in flight came a second time.
        assert sum(arrivals.values()) <= len(servers.accepted) + 2 * 50
