"""Nobody notices when the clock of a shared database is set."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.acceptance.shared_database import fleet
from tests.postgresql import Cluster
from tests.receivers import Receiver, respond

# A database's clock is its machine's, so these databases see another one before that.
_CLOCK = """
    CREATE TABLE clock_set_by (amount interval);
    INSERT INTO clock_set_by VALUES ('0');
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() + (SELECT amount FROM public.clock_set_by)';
"""


@pytest.fixture
async def database_url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database whose clock can be set."""
    name = await cluster.create_empty()
    await _execute(cluster.url(name), _CLOCK)
    await cluster.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
    yield cluster.url(name)
    await cluster.drop(name)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("amount", ["1 hour", "-1 hour"], ids=["ahead", "back"])
async def test_a_database_clock_set_by_an_hour_makes_neither_a_burst_nor_a_stall(
    start_server: StartServer, database_url: str, amount: str
) -> None:
    """What is due in ten minutes is not due now, and what is due in a second is not due later."""
    async with (
        fleet(start_server, database_url, 2) as servers,
        Receiver(respond(500)) as patient,
        Receiver(respond(500)) as hasty,
        servers.client(servers.servers[0]) as client,
        servers.client(servers.servers[1]) as other,
        client.attempt.watch() as watch,
    ):
        await watch.wait_until_live()
        for uid, receiver, schedule in (
            ("patient", patient, [0, 600]),
            ("hasty", hasty, [0, 1, 1, 1, 1]),
        ):
            await client.application.create(uid=uid)
            await client.endpoint.create(uid, url=receiver.url, retry_schedule=schedule)
        for accepts in (client, other):
            await accepts.message.create("patient", event_type="a.b", payload={})
        await next_attempts(watch, 2)

        await _execute(database_url, f"UPDATE clock_set_by SET amount = '{amount}'")
        stepped = [
            asyncio.create_task(server.logged("database_clock_stepped"))
            for server in servers.servers
        ]
        await asyncio.wait(stepped, return_when=asyncio.FIRST_COMPLETED)
        for accepts in (client, other):
            await accepts.message.create("hasty", event_type="a.b", payload={})
        # They take longer than the servers need to read the clock twice.
        await next_attempts(watch, 2 * 5)
        assert len(hasty.requests) == 2 * 5
        assert len(patient.requests) == 2
        for task in stepped:
            task.cancel()
        # One of them has told, and the other found its note.
        assert sum(len(server.logs("database_clock_stepped")) for server in servers.servers) == 1
