"""A server in which a part has died or hangs says so, and asks to be started anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from octohooks import AsyncOctohooks
from octohooks_server import health, serve
from octohooks_server.api.server import ApiServer
from octohooks_server.background import upkeep
from octohooks_server.background.upkeep import Upkeep
from octohooks_server.delivery import loop
from octohooks_server.delivery.loop import DeliveryLoop
from octohooks_server.health import Health, Part
from octohooks_server.store.database import Database, open_database
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit

from tests.acceptance.health import NOT_SERVING, SERVING, HealthWatch
from tests.receivers import Receiver
from tests.server.api.conftest import NewHome, home, new_home, receiver
from tests.server.api.serving import Server, serving
from tests.server.observation.scrape import get

__all__ = ["home", "new_home", "receiver"]

in_one_loop = pytest.mark.asyncio(loop_scope="session")
pytestmark = pytest.mark.one_database_is_enough


class Defect(Exception):
    """What only a mistake in the server's own code raises."""


@asynccontextmanager
async def watched(new_home: NewHome) -> AsyncIterator[tuple[Server, HealthWatch]]:
    """A server that is well, and a watch of its health."""
    async with (
        new_home() as home,
        serving(home, metrics_listen="127.0.0.1:0", shutdown_grace=0) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        watch = HealthWatch(channel)
        assert await watch.next_status() == SERVING
        assert (await get(server, "/readyz"))[0] == 200
        assert (await get(server, "/livez"))[0] == 200
        yield server, watch


async def prepare(server: Server, receiver: Receiver) -> AsyncOctohooks:
    """An environment with an application and two endpoints."""
    octohooks = (await server.new_tenant()).octohooks
    await octohooks.application.create(uid="acme")
    for uid in ("main", "old"):
        await octohooks.endpoint.create("acme", url=receiver.url, uid=uid)
    return octohooks


async def keep_busy(octohooks: AsyncOctohooks) -> None:
    """Gives every part of the server something to do; some of it may never be answered."""
    await asyncio.gather(
        octohooks.message.create("acme", event_type="e", payload={}),
        octohooks.endpoint.delete("acme", "old"),
        return_exceptions=True,
    )


def breaks(*_: Any) -> Any:
    raise Defect


async def hangs(*_: Any) -> Any:
    await asyncio.Event().wait()


@in_one_loop
@pytest.mark.parametrize(
    ("owner", "function"),
    [
        pytest.param(DeliveryLoop, "_seconds_until", id="delivery"),
        pytest.param(Upkeep, "_work", id="upkeep"),
        pytest.param(DeliveryLoop, "hand_over", id="messages"),
        pytest.param(Feed, "announce", id="outcomes"),
    ],
)
async def test_a_part_that_dies_of_a_defect_ends_the_server(
    owner: type,
    function: str,
    new_home: NewHome,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_ROUNDS", 0.05)
    async with watched(new_home) as (server, watch):
        octohooks = await prepare(server, receiver)
        monkeypatch.setattr(owner, function, breaks)
        busy = asyncio.create_task(keep_busy(octohooks))
        await server.running.failed.wait()
        assert await watch.next_status() == NOT_SERVING
        assert (await get(server, "/readyz"))[0] == 503
        assert (await get(server, "/livez"))[0] == 503
        busy.cancel()
        await asyncio.wait([busy])


@in_one_loop
@pytest.mark.parametrize(
    ("owner", "function"),
    [
        pytest.param(DeliveryLoop, "_look", id="delivery"),
        pytest.param(Upkeep, "_has_more", id="upkeep"),
        pytest.param(GroupCommit, "_write_group", id="messages and outcomes"),
    ],
)
async def test_a_part_that_hangs_is_unhealthy_and_ends_the_server_at_last(
    owner: type,
    function: str,
    new_home: NewHome,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "_SECONDS_FOR_A_LAST_COMMIT", 0.1)
    monkeypatch.setattr(loop, "_MOST_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_ROUNDS", 0.05)
    monkeypatch.setattr(health, "_SECONDS_BETWEEN_CHECKS", 0.05)
    async with watched(new_home) as (server, watch):
        octohooks = await prepare(server, receiver)
        # Not before: what a busy machine was slow to do is not what is to be found.
        monkeypatch.setattr(Part, "most_seconds", 1.0)
        monkeypatch.setattr(health, "_CHECKS_BEFORE_GIVING_UP", 5)
        monkeypatch.setattr(owner, function, hangs)
        busy = asyncio.create_task(keep_busy(octohooks))
        assert await watch.next_status() == NOT_SERVING
        await server.running.failed.wait()
        assert (await get(server, "/livez"))[0] == 503
        busy.cancel()
        await asyncio.wait([busy])


class Told:
    """Stands for the gRPC server, of which only the health service is used."""

    def __init__(self) -> None:
        self.status: int = HealthCheckResponse.UNKNOWN
        self.server = cast(ApiServer, SimpleNamespace(health=self, service_names=["a.Service"]))

    async def set(self, name: str, status: int) -> None:
        self.status = status


def part(*, progress: float, turn: float) -> Part:
    """A part that did its work, and came round, so many seconds ago; it may take ten."""
    return Part("a part", lambda: progress, lambda: turn, 10.0)


async def checked(database: Database, a_part: Part, count: int) -> tuple[int, bool]:
    """What so many checks found at last, and whether the server is given up."""
    told = Told()
    looked = Health(told.server, database, [a_part])
    for _ in range(count):
        await looked.check()
    return told.status, looked.failed.is_set()


async def test_a_part_may_hang_for_a_minute_before_the_server_is_given_up(
    database: Database,
) -> None:
    hanging = part(progress=11, turn=11)
    assert await checked(database, hanging, 29) == (NOT_SERVING, False)
    assert await checked(database, hanging, 30) == (NOT_SERVING, True)


async def test_what_fails_again_and_again_is_unhealthy_and_not_given_up(
    database: Database,
) -> None:
    assert await checked(database, part(progress=1000, turn=1), 40) == (NOT_SERVING, False)


async def test_nothing_is_given_up_while_the_database_is_away() -> None:
    database = open_database("sqlite:////nowhere/octohooks.db")
    assert await checked(database, part(progress=1000, turn=1000), 40) == (NOT_SERVING, False)
    await database.close()


async def test_a_part_that_is_on_time_is_well(database: Database) -> None:
    assert await checked(database, part(progress=10, turn=10), 40) == (SERVING, False)
