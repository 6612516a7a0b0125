"""A stop in order: nothing new is taken on, and what is under way is finished and recorded."""

import asyncio
import contextlib
import copy
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from octohooks import OctohooksError
from octohooks.channel import SERVICE_CONFIG
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_SUCCEEDED
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING, DELIVERY_STATUS_SUCCEEDED

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import until_nothing_is_pending
from tests.acceptance.health import NOT_SERVING, SERVING, HealthWatch, health
from tests.acceptance.process import WITHOUT_RETRIES, ServerProcess
from tests.acceptance.receiving import answer_after, message_ids
from tests.receivers import Receiver, stay_silent
from tests.waiting import eventually


def patient_service_config() -> str:
    """As clients repeat calls, but with more time for a server to come back."""
    config: Any = copy.deepcopy(SERVICE_CONFIG)
    # A try is over once the server is back, and not when it turns out to be away.
    config["methodConfig"][0]["waitForReady"] = True
    return json.dumps(config)


@contextlib.asynccontextmanager
async def health_of(server: ServerProcess) -> AsyncIterator[HealthWatch]:
    """A watch of the server's health, which has said SERVING."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch = HealthWatch(channel)
        assert await watch.next_status() == SERVING
        yield watch


async def test_a_stop_finishes_and_records_what_is_in_flight(start_server: StartServer) -> None:
    server = await start_server()
    gate = asyncio.Event()
    async with Receiver(answer_after(gate)) as receiver:
        async with server.connect() as client:
            application = (await client.application.create(name="A customer")).id
            await client.endpoint.create(application, url=receiver.url)
            sent = [
                (await client.message.create(application, event_type="a.b", payload={})).id
                for _ in range(5)
            ]
            for _ in sent:
                await receiver.next_request()
            async with health_of(server) as health:
                server.signal(signal.SIGTERM)
                assert await health.next_status() == NOT_SERVING
            await server.logged("draining", under_way=5)
            gate.set()
            assert await server.exited() == 0
        assert server.logs("stopped")

        await server.start()
        async with server.connect() as client:
            attempts = [one async for one in client.attempt.list(application=application)]
    assert {one.message for one in attempts} == set(sent)
    assert [one.outcome for one in attempts] == [ATTEMPT_OUTCOME_SUCCEEDED] * 5
    # And no request was made twice.
    assert len(receiver.requests) == 5


async def test_what_waits_in_memory_at_a_stop_is_delivered_by_the_next_start_at_once(
    start_server: StartServer,
) -> None:
    """It is given back; its lease, an hour here, is not waited for."""
    server = await start_server(max_in_flight_per_endpoint="2", lease="3600")
    gate = asyncio.Event()
    async with Receiver(answer_after(gate)) as receiver:
        async with server.connect() as client:
            application = (await client.application.create(name="A customer")).id
            await client.endpoint.create(application, url=receiver.url)
            sent = {
                (await client.message.create(application, event_type="a.b", payload={})).id
                for _ in range(8)
            }
            for _ in range(2):
                await receiver.next_request()
            # As Ctrl-C does.
            server.signal(signal.SIGINT)
            await server.logged("draining", under_way=2)
            gate.set()
            assert await server.exited() == 0
        assert len(receiver.requests) == 2
        await server.start()
        while set(message_ids(receiver)) != sent:
            await receiver.next_request()
    assert set(Counter(message_ids(receiver)).values()) == {1}


async def test_an_attempt_that_outlasts_the_grace_time_is_cut_off_and_made_again_later(
    start_server: StartServer,
) -> None:
    server = await start_server(shutdown_grace="0.5", request_timeout="30", lease="3600")
    async with Receiver(stay_silent) as receiver:
        async with server.connect() as client:
            application = (await client.application.create(name="A customer")).id
            endpoint = await client.endpoint.create(application, url=receiver.url)
            message = await client.message.create(application, event_type="a.b", payload={})
            await receiver.next_request()
            assert await server.stop() == 0
        await server.start()
        async with server.connect() as client:
            delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery.status == DELIVERY_STATUS_PENDING
    assert delivery.HasField("next_attempt_time")
    assert delivery.attempt_count == 0


async def test_calls_and_attempts_that_outlast_the_grace_time_share_it(
    start_server: StartServer,
) -> None:
    """Attempts do not begin to wait when calls have ended; they have one more second for outcomes
    to be recorded, here a sixth of the time that is spent on a call."""
    server = await start_server(shutdown_grace="6", request_timeout="30")
    async with (
        Receiver(stay_silent) as receiver,
        server.connect() as client,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        application = (await client.application.create(name="A customer")).id
        await client.endpoint.create(application, url=receiver.url)
        await client.message.create(application, event_type="a.b", payload={})
        await receiver.next_request()
        # A call whose request never comes, and another one that the server took after it.
        path = "/octohooks.v1.ApplicationService/GetApplication"
        never_sent: Any = channel.stream_unary(path)()
        assert await health(channel) == SERVING
        assert await server.stop() == 0
        assert await never_sent.code() is not grpc.StatusCode.OK
    began, calls_ended, attempts_ended = (
        datetime.fromisoformat(server.logs(event)[0]["timestamp"])
        for event in ("stopping", "draining", "attempts_cut_off")
    )
    assert attempts_ended - calls_ended < (calls_ended - began) * 2 / 3


async def test_streams_that_stay_open_all_the_time_do_not_hold_up_the_stop(
    start_server: StartServer,
) -> None:
    """Load balancers and clients watch the health; tools keep the stream of reflection."""
    # Longer than the test may take.
    server = await start_server(shutdown_grace="600")
    async with health_of(server), grpc.aio.insecure_channel(server.address) as channel:
        # The types of the generated stub know only channels that block.
        stub: Any = ServerReflectionStub(cast(grpc.Channel, channel))
        call = stub.ServerReflectionInfo()
        await call.write(ServerReflectionRequest(list_services="*"))
        await call.read()
        assert await server.stop() == 0
        assert await call.code() is grpc.StatusCode.OK


async def test_a_watch_goes_on_when_the_server_is_back(start_server: StartServer) -> None:
    server = await start_server()
    async with (
        Receiver() as receiver,
        server.connect() as client,
        client.attempt.watch() as watch,
    ):
        await watch.wait_until_live()
        seen = asyncio.ensure_future(anext(watch))
        assert await server.stop() == 0
        assert not seen.done()
        await server.restart()
        async with server.connect() as other, other.attempt.watch() as other_watch:
            await other_watch.wait_until_live()
            application = (await other.application.create(name="A customer")).id
            await other.endpoint.create(application, url=receiver.url)
            while not seen.done():
                await other.message.create(application, event_type="a.b", payload={})
                await anext(other_watch)
        assert seen.result().attempt.application == application


async def test_messages_accepted_up_to_the_stop_are_delivered_once_each(
    start_server: StartServer,
) -> None:
    """Calls that are under way when it begins are answered or refused, and never half done."""
    server = await start_server()
    accepted: set[str] = set()
    enough = asyncio.Event()
    async with Receiver() as receiver:
        async with server.connect(channel_options=[WITHOUT_RETRIES]) as client:
            application = (await client.application.create(name="A customer")).id
            await client.endpoint.create(application, url=receiver.url)

            async def send_until_refused() -> None:
                with contextlib.suppress(OctohooksError):
                    while True:
                        made = await client.message.create(
                            application, event_type="a.b", payload={}
                        )
                        accepted.add(made.id)
                        if len(accepted) >= 50:
                            enough.set()

            senders = [asyncio.create_task(send_until_refused()) for _ in range(10)]
            await enough.wait()
            assert await server.stop() == 0
            await asyncio.gather(*senders)
        await server.start()
        async with server.connect() as client:
            await until_nothing_is_pending(client)
            listed = [one async for one in client.delivery.list(page_size=250)]
    assert accepted <= {one.message for one in listed}
    assert {one.status for one in listed} == {DELIVERY_STATUS_SUCCEEDED}
    # The stop was in order, so no request was made twice.
    assert Counter(message_ids(receiver)) == Counter(one.message for one in listed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a socket holds unread")
async def test_calls_that_wait_at_a_server_when_it_begins_to_stop_are_answered_by_the_next_start(
    start_server: StartServer,
) -> None:
    """The server never begins them, and gRPC ends them as CANCELLED; the client asks again."""
    server = await start_server()
    count = 200
    async with server.connect(
        timeout=50, channel_options=[("grpc.service_config", patient_service_config())]
    ) as client:
        application = (await client.application.create(name="A customer")).id
        server.freeze()
        calls = [
            asyncio.create_task(client.message.create(application, event_type="a.b", payload={}))
            for _ in range(count)
        ]
        await eventually(lambda: asyncio.to_thread(server.has_unread, count * 100))
        server.signal(signal.SIGTERM)
        server.thaw()
        assert await server.exited() == 0
        await server.restart()
        made = {message.id for message in await asyncio.gather(*calls)}
        assert len(made) == count
        listed = {message.id async for message in client.message.list(application)}
    assert listed == made
