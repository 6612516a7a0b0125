"""How watches end that do not end by themselves."""

import contextlib

import grpc.aio
import pytest
from octohooks import Unauthenticated
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest, WatchAttemptsResponse
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.acceptance.unread import LONG_QUERY, unread_watches
from tests.receivers import Receiver

# Of a stop, in seconds: whoever waited for it would wait for longer than a test may take.
GRACE = "600"


async def test_a_stop_ends_watches_with_a_last_bookmark_that_another_start_takes_up(
    start_server: StartServer,
) -> None:
    server = await start_server(shutdown_grace=GRACE)
    async with Receiver() as receiver, contextlib.AsyncExitStack() as stack:
        calls = []
        for _ in range(20):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            call = AttemptServiceStub(channel).WatchAttempts(
                WatchAttemptsRequest(), metadata=[("authorization", f"Bearer {server.api_key}")]
            )
            await call.read()
            calls.append(call)
        assert await server.stop() == 0
        tokens = set()
        for call in calls:
            bookmark = await call.read()
            assert isinstance(bookmark, WatchAttemptsResponse)
            assert not bookmark.events
            tokens.add(bookmark.resume_token)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            assert ended.value.code() == grpc.StatusCode.UNAVAILABLE

        (token,) = tokens
        await server.restart()
        async with server.connect() as client:
            await client.application.create(uid="shop")
            await client.endpoint.create("shop", url=receiver.url)
            message = await client.message.create("shop", event_type="a.b", payload={})
            async with client.attempt.watch(resume_token=token) as watch:
                (attempt,) = await next_attempts(watch, 1)
    assert attempt.message == message.id


async def test_watches_that_nobody_reads_do_not_hold_up_a_stop(start_server: StartServer) -> None:
    server = await start_server(shutdown_grace=GRACE)
    async with (
        Receiver() as receiver,
        server.connect() as client,
        client.attempt.watch() as watch,
        unread_watches(server, 3),
    ):
        await client.application.create(uid="shop")
        await client.endpoint.create("shop", url=receiver.url + LONG_QUERY)
        await watch.wait_until_live()
        for _ in range(3):
            await client.message.create_batch(
                [{"application": "shop", "event_type": "a.b", "payload": {}} for _ in range(100)]
            )
        await next_attempts(watch, 300)
        await watch.close()
        assert await server.stop() == 0


async def test_a_watch_ends_soon_after_its_key_is_revoked(start_server: StartServer) -> None:
    """How soon that is at the most is in tests/server/api/test_watch.py."""
    server = await start_server()
    async with server.connect() as client:
        made = await client.api_key.create(name="a watcher's")
        async with server.connect(made.key) as watcher, watcher.attempt.watch() as watch:
            await watch.wait_until_live()
            await client.api_key.revoke(made.api_key.id)
            with pytest.raises(Unauthenticated):
                await anext(watch)
