"""Receivers that attack: each exchange ends in time, in bounded memory, with no made-up status."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind

from tests.attacks import ALL, BROKEN, ENDLESS, NEVER_ENDING, PROTOCOL, TIMEOUT
from tests.receivers import Connection, Receiver, respond, send
from tests.server.delivery.sending import SHORT, post, sending


@pytest.mark.parametrize("name", NEVER_ENDING)
async def test_an_answer_that_never_ends_is_a_timeout_without_a_status(name: str) -> None:
    async with Receiver(NEVER_ENDING[name]) as receiver, sending(timeout=SHORT) as sender:
        exchange = await post(sender, receiver.url)
        await receiver.wait_for_ended_connections(receiver.connections)
    assert exchange.error_kind == TIMEOUT
    assert (exchange.status, exchange.headers, exchange.body) == (0, (), b"")
    assert "0.2 seconds" in exchange.error_detail
    assert exchange.duration >= SHORT


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_has_a_typed_error_and_no_status(name: str) -> None:
    script, kind = BROKEN[name]
    async with Receiver(script) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
        await receiver.wait_for_ended_connections(1)
    assert exchange.error_kind == kind
    assert (exchange.status, exchange.headers, exchange.body) == (0, (), b"")
    assert 0 < len(exchange.error_detail) <= 200


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_body_is_cut_and_counts_by_its_status(name: str) -> None:
    async with Receiver(ENDLESS[name]) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
        await receiver.wait_for_ended_connections(1)
    assert (exchange.status, len(exchange.body), exchange.truncated) == (200, 16_384, True)
    assert exchange.error_kind == ErrorKind.ERROR_KIND_UNSPECIFIED


async def test_a_gzip_bomb_is_kept_packed() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    script = respond(200, bomb, [("content-encoding", "gzip")])
    async with Receiver(script) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
    assert exchange.body == bomb[:16_384]


async def test_a_redirect_loop_is_one_request() -> None:
    script = respond(302, headers=[("location", "/hook")])
    async with Receiver(script) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
        assert len(receiver.requests) == 1
    assert (exchange.status, exchange.error_kind) == (302, ErrorKind.ERROR_KIND_REDIRECT)


async def test_a_server_that_speaks_first_and_not_http_is_a_protocol_error() -> None:
    greeting = send(b"220 mail.example ESMTP\r\n")
    async with Receiver(on_connect=greeting) as receiver, sending() as sender:
        exchange = await post(sender, receiver.url)
        assert receiver.connections == 1
    assert (exchange.status, exchange.error_kind) == (0, PROTOCOL)


async def test_a_receiver_that_reads_nothing_holds_neither_connection_nor_memory() -> None:
    read_again = asyncio.Event()
    came: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read_late(connection: Connection) -> None:
        await read_again.wait()
        came.set_result(await connection.read_to_the_end())

    body = b"x" * 30_000_000
    async with Receiver(on_connect=read_late) as receiver, sending(timeout=SHORT) as sender:
        exchange = await post(sender, receiver.url, body=body)
        # Were the connection only closed politely, the rest would still be sent now.
        read_again.set()
        assert await came < len(body)
    assert (exchange.status, exchange.error_kind) == (0, TIMEOUT)


@pytest.fixture
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced_memory")
@pytest.mark.parametrize("name", ALL)
async def test_no_attack_makes_the_process_hold_more_than_four_megabytes(name: str) -> None:
    async with Receiver(ALL[name]) as receiver, sending(timeout=SHORT) as sender:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await post(sender, receiver.url)
        _, peak = tracemalloc.get_traced_memory()
    assert peak - before < 4_000_000
