"""A change that waited for another one goes by what that left behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest, RotateApiKeyRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import ImportOpenApiRequest
from octohooks_server.store import api_keys, endpoint_versions, event_types
from octohooks_server.store.database import Database
from octohooks_server.store.tables import endpoint_versions as versions
from octohooks_server.store.tables import endpoints
from sqlalchemy import select, text

from tests.postgresql import Cluster
from tests.server.api.home import Home
from tests.server.api.serving import Clock, Server, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The server's."""
    return Clock()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    cluster: Cluster, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """A server on PostgreSQL, where several transactions run at once."""
    async with cluster.database() as url:
        home = Home(tmp_path_factory.mktemp("home"), url)
        async with serving(home, clock=clock) as server:
            yield server


async def until_waited_for(database: Database) -> None:
    """Returns once a transaction waits for another one."""

    async def is_waited_for() -> bool:
        async with database.read() as conn:
            waiting = text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return bool(await conn.scalar(waiting))

    await eventually(is_waited_for)


async def test_a_key_that_is_being_revoked_is_not_rotated(server: Server) -> None:
    tenant = await server.new_tenant()
    made = await server.operator(CreateApiKeyRequest(environment=tenant.id))
    id = made.api_key.id
    async with server.database.write() as conn:
        await api_keys.remove(conn, id=id, environment_id=tenant.id)
        rotation = asyncio.create_task(server.operator.refusal(RotateApiKeyRequest(api_key=id)))
        await until_waited_for(server.database)
    assert (await rotation).code == "NOT_FOUND"


async def test_an_import_leaves_what_another_one_has_just_made(
    server: Server, clock: Clock
) -> None:
    tenant = await server.new_tenant()
    document = '{"openapi": "3.1.0", "webhooks": {"b": {"post": {}}, "a": {"post": {}}}}'
    async with server.database.write() as conn:
        described = EventType(name="a")
        await event_types.create(conn, environment_id=tenant.id, event_type=described, now=clock())
        importing = asyncio.create_task(tenant.api(ImportOpenApiRequest(document=document)))
        await until_waited_for(server.database)
    imported = await importing
    assert list(imported.unchanged) == ["a"]
    assert [one.name for one in imported.created] == ["b"]


async def test_the_filters_of_an_endpoint_are_remembered_in_the_order_of_the_changes(
    server: Server, clock: Clock
) -> None:
    tenant = await server.new_tenant()
    client = tenant.octohooks
    await client.application.create(uid="acme")
    endpoint = await client.endpoint.create("acme", url="https://example.com/", channels=["x"])
    async with server.database.write() as conn:
        await conn.execute(
            select(endpoints.c.id).where(endpoints.c.id == endpoint.id).with_for_update()
        )
        update = asyncio.ensure_future(client.endpoint.update("acme", endpoint.id, channels=["z"]))
        await until_waited_for(server.database)
        await endpoint_versions.add(
            conn, environment_id=tenant.id, endpoint_id=endpoint.id, now=clock()
        )
    await update
    async with server.database.read() as conn:
        found = await conn.scalars(
            select(versions.c.channels)
            .where(versions.c.endpoint_id == endpoint.id)
            .order_by(versions.c.valid_from)
        )
    assert found.all() == [["x"], ["x"], ["z"]]
