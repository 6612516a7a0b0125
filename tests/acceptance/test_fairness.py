"""Endpoints that are dead, slow or far behind delay nobody else's deliveries."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ERROR_KIND_TIMEOUT

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempt
from tests.acceptance.fairness import KINDS, application_with, send, taken_up
from tests.acceptance.receiving import answer_after
from tests.receivers import Receiver, respond, stay_silent


@pytest.fixture
async def own_client(start_server: StartServer) -> AsyncIterator[AsyncOctohooks]:
    """A client of a server that no other test disturbs, whose attempts may take long."""
    server = await start_server(request_timeout="30")
    async with server.connect() as client:
        yield client


# Seconds; about 20 on an idle machine.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
async def test_endpoints_that_take_up_places_leave_the_others_theirs(
    start_server: StartServer, kind: str
) -> None:
    """Whoever waited for a place would wait for a timeout of seconds, and so for each message: in
    all for longer than the test may take."""
    async with taken_up(kind, start_server) as rig:
        for _ in range(200):
            await rig.loaded.seconds()
            await rig.others.send()


async def test_the_backlogs_of_dead_endpoints_hold_up_neither_new_messages_nor_retries(
    own_client: AsyncOctohooks,
) -> None:
    """Neither of their own application nor of another one: a dozen of them, 3600 deliveries."""
    endpoints, messages, places = 12, 300, 20
    async with (
        Receiver(stay_silent) as silent,
        Receiver() as neighbour,
        Receiver(respond(500), respond(200)) as flaky,
    ):
        dead = await application_with(own_client, *[silent.url] * endpoints)
        waiting = await send(own_client, dead, messages)
        for _ in range(endpoints * places):
            await silent.next_request()
        other = await application_with(own_client, flaky.url, retry_schedule=[0, 0.2])
        await own_client.endpoint.create(dead, url=neighbour.url)
        (retried,) = await send(own_client, other)
        for _ in range(2):
            assert (await flaky.next_request()).header("webhook-id") == retried
        (new,) = await send(own_client, dead)
        assert (await neighbour.next_request()).header("webhook-id") == new
    # No place of a dead one has become free meanwhile, and none has taken more than its own.
    assert len(silent.requests) == endpoints * places
    assert {request.header("webhook-id") for request in silent.requests} <= set(waiting)


async def test_a_slow_endpoint_gets_all_its_messages_by_its_places_and_delays_nobody(
    client: AsyncOctohooks, receiver: Receiver
) -> None:
    """150 messages come to an endpoint with 20 places that answers when it is let."""
    gate = asyncio.Event()
    async with Receiver(answer_after(gate)) as slow:
        behind = await application_with(client, slow.url)
        healthy = await application_with(client, receiver.url)
        sent = await send(client, behind, 150)
        for _ in range(20):
            await slow.next_request()
        for _ in await send(client, healthy, 50):
            await receiver.next_request()
        # Nor has one of its places become free meanwhile.
        assert len(slow.requests) == 20
        gate.set()
        while len(slow.requests) < len(sent):
            await slow.next_request()
    assert Counter(request.header("webhook-id") for request in slow.requests) == Counter(sent)


async def test_what_a_dead_endpoint_left_is_delivered_when_it_comes_back(
    start_server: StartServer,
) -> None:
    server = await start_server(request_timeout="1", lease="6", max_in_flight_per_endpoint="50")
    gate = asyncio.Event()
    async with (
        Receiver(answer_after(gate)) as receiver,
        server.connect() as client,
    ):
        application = await application_with(client, receiver.url, retry_schedule=[0, *[0.5] * 15])
        sent = set(await send(client, application, 300))
        delivered: set[str] = set()
        async with client.attempt.watch(application=application) as watch:
            # It is back once an attempt has failed; until then none can have succeeded.
            assert (await next_attempt(watch)).error_kind == ERROR_KIND_TIMEOUT
            gate.set()
            while delivered != sent:
                attempt = await next_attempt(watch)
                if attempt.response_status == 200:
                    delivered.add(attempt.message)
