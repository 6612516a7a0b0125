"""The history that a database is filled with is one that the API shows as its own."""

from pathlib import Path

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED

from benchmarks.databases import Database, Postgresql, Sqlite
from benchmarks.history import History
from benchmarks.scenarios import Scenario
from benchmarks.server import Server, ServerFailed
from benchmarks.world import make_world
from tests.postgresql import Cluster


async def test_filled_messages_read_like_delivered_ones_in_sqlite(tmp_path: Path) -> None:
    await _fill_and_read(tmp_path, Sqlite(tmp_path))


async def test_filled_messages_read_like_delivered_ones_in_postgresql(
    tmp_path: Path, cluster: Cluster
) -> None:
    async with cluster.database() as url:
        await _fill_and_read(tmp_path, Postgresql(url, None))


async def _fill_and_read(folder: Path, database: Database) -> None:
    server = Server(folder, ["all"], 1, database.settings)
    try:
        await server.start()
        world = await make_world(server.address, Scenario("world", applications=2), port=9)
        await server.stop()
        endpoints = [endpoint for (endpoint,) in world.endpoint_ids]
        pairs = list(zip(world.application_ids, endpoints, strict=True))
        await database.fill(History(world.environment_id, pairs, rows=10))
        assert not await database.is_unfinished()
        await server.start()
        async with AsyncOctohooks(world.api_key, target=server.address) as client:
            for application, endpoint in pairs:
                await _read(client, application, endpoint)
    finally:
        await server.kill()


async def _read(client: AsyncOctohooks, application: str, endpoint: str) -> None:
    new = await client.message.create(application, event_type="new", payload={})
    newest, *older = [message async for message in client.message.list(application)]
    assert newest.id == new.id
    assert len(older) == 5
    for message in older:
        content = await client.message.get(application, message.id)
        assert content.payload.startswith(b'{"invoice":')
        delivery = await client.delivery.get(
            application=application, message=message.id, endpoint=endpoint
        )
        assert delivery.status == DELIVERY_STATUS_SUCCEEDED
        attempts = client.attempt.list(application=application, message=message.id)
        assert [attempt.response_status async for attempt in attempts] == [200]


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = Server(tmp_path, ["all"], 1, {"lease": "1"})
    with pytest.raises(ServerFailed, match="OCTOHOOKS_LEASE"):
        await server.start()
    await server.kill()
