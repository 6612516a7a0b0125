"""Several server processes on one port, and the one that watches over them."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import ServerEnded, ServerProcess
from tests.postgresql import Cluster
from tests.receivers import Receiver
from tests.waiting import eventually


@pytest.fixture
async def server(start_server: StartServer, cluster: Cluster) -> AsyncIterator[ServerProcess]:
    """Three workers on one port."""
    name = await cluster.create_empty()
    server = await start_server(
        database_url=cluster.url(name), workers="3", metrics_listen="127.0.0.1:0"
    )
    await server.logged_often(3, "serving")
    yield server
    server.discard()
    await cluster.drop(name)


def workers(server: ServerProcess) -> list[int]:
    """The process IDs of all workers that ever served, in the order of their starts."""
    return [int(line["pid"]) for line in server.logs("serving")]


async def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # It has to run to its end, maybe on this core.
    await asyncio.sleep(0.01)
    return False


async def test_workers_share_the_port_and_the_work(server: ServerProcess) -> None:
    assert {line["address"] for line in server.logs("serving")} == {server.address}
    # Whoever scrapes has to tell them apart.
    assert len({line["metrics"] for line in server.logs("serving")}) == 3
    async with Receiver() as receiver, server.connect() as client:
        await client.application.create(uid="acme")
        await client.endpoint.create("acme", url=receiver.url)
        for _ in range(20):
            await client.message.create("acme", event_type="a.b", payload={})
        for _ in range(20):
            await receiver.next_request()


async def test_a_port_that_others_share_is_refused(start_server: StartServer) -> None:
    """Else some calls would reach the workers of another server, with another database."""
    with socket.socket() as of_others:
        of_others.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        of_others.bind(("127.0.0.1", 0))
        of_others.listen()
        address = f"127.0.0.1:{of_others.getsockname()[1]}"
        with pytest.raises(ServerEnded, match=f"{address}, which cannot be listened at"):
            await start_server(
                database_url="postgresql://127.0.0.1:9/none", workers="2", listen=address
            )


async def test_a_worker_that_dies_is_replaced(server: ServerProcess) -> None:
    first, *others = workers(server)
    os.kill(first, signal.SIGKILL)
    await server.logged("worker_ended", code=128 + signal.SIGKILL)
    await server.logged_often(4, "serving")
    assert workers(server)[3] not in (first, *others)
    async with server.connect() as client:
        assert [one async for one in client.application.list()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_of_them_in_order(
    server: ServerProcess, number: signal.Signals
) -> None:
    server.signal(number)
    assert await server.exited() == 0
    assert len([line for line in server.logs("stopped") if "workers" not in line]) == 3
    for pid in workers(server):
        await eventually(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


async def test_no_worker_outlives_the_one_that_watches_over_it(server: ServerProcess) -> None:
    server.signal(signal.SIGKILL)
    for pid in workers(server):
        await eventually(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


async def test_workers_that_refuse_their_settings_end_all(
    start_server: StartServer, cluster: Cluster
) -> None:
    """Starting them again and again would change nothing."""
    with pytest.raises(ServerEnded, match="does not exist"):
        await start_server(database_url=cluster.url("nobody_made_it"), workers="2")
