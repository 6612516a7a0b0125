"""Receivers that attack: each exchange ends in time, in bounded memory, with no made-up status."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind

from tests.receivers import (
    Connection,
    Receiver,
    Script,
    repeat,
    respond,
    send,
    send_and_close,
    send_and_reset,
    stay_silent,
)
from tests.server.delivery.sending import SHORT, post, sending

OK = b"HTTP/1.1 200 OK\r\n"

TIMEOUT = ErrorKind.ERROR_KIND_TIMEOUT
LOST = ErrorKind.ERROR_KIND_CONNECTION_LOST
PROTOCOL = ErrorKind.ERROR_KIND_PROTOCOL

NEVER_ENDING: dict[str, Script] = {
    "no_answer": stay_silent,
    "slow_headers": repeat(b"a", after=OK + b"x-slow: ", pause=0.01),
    "endless_headers_slowly": repeat(b"a: b\r\n", after=OK, pause=0.01),
    "dripping_body": repeat(b"a", after=OK + b"content-length: 1000\r\n\r\n", pause=0.01),
    "dripping_body_without_length": repeat(b"a", after=OK + b"\r\n", pause=0.01),
    "dripping_chunks": repeat(
        b"1\r\na\r\n", after=OK + b"transfer-encoding: chunked\r\n\r\n", pause=0.01
    ),
    "endless_100_continue": repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless_103_early_hints": repeat(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    "missing_body": send(OK + b"content-length: 5\r\n\r\n"),
}

BROKEN: dict[str, tuple[Script, ErrorKind.ValueType]] = {
    "closed_without_a_word": (send_and_close(), LOST),
    "reset": (send_and_reset(), LOST),
    "closed_in_the_headers": (send_and_close(OK + b"x: "), LOST),
    "reset_in_the_headers": (send_and_reset(OK + b"x: "), LOST),
    "truncated_body": (send_and_close(OK + b"content-length: 9\r\n\r\nabc"), LOST),
    "reset_in_the_body": (send_and_reset(OK + b"content-length: 9\r\n\r\nabc"), LOST),
    "truncated_chunk": (
        send_and_close(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nabc"),
        LOST,
    ),
    "not_http": (send(b"SSH-2.0-OpenSSH_9.9\r\n"), PROTOCOL),
    "binary": (send(bytes(range(256)) * 4), PROTOCOL),
    "tls_alert": (send(b"\x15\x03\x01\x00\x02\x02\x0a"), PROTOCOL),
    "bad_status": (send(b"HTTP/1.1 20 OK\r\n\r\n"), PROTOCOL),
    "status_without_digits": (send(b"HTTP/1.1 two OK\r\n\r\n"), PROTOCOL),
    "one_huge_header": (send(OK + b"x: ", *[b"a" * 65_536] * 16), PROTOCOL),
    "a_megabyte_of_headers": (send(OK, *[b"x: aaaaaaaaaa\r\n" * 4000] * 18, b"\r\n"), PROTOCOL),
    "endless_status_line": (repeat(b"a" * 65_536, after=b"HTTP/1.1 200 "), PROTOCOL),
    "bad_chunk_size": (
        send(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc"),
        PROTOCOL,
    ),
    "bad_chunk_size_later": (
        send(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"zz\r\nabc"),
        PROTOCOL,
    ),
    "length_and_chunks": (
        send(OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
        PROTOCOL,
    ),
    "two_lengths": (
        send(OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
        PROTOCOL,
    ),
    "negative_length": (send(OK + b"content-length: -1\r\n\r\n"), PROTOCOL),
    "nul_in_a_header": (send(OK + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n"), PROTOCOL),
    "protocol_switch": (
        send(b"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nabc"),
        PROTOCOL,
    ),
    "204_with_a_body": (
        send(b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc"),
        PROTOCOL,
    ),
}

ENDLESS: dict[str, bytes] = {
    "without_length": OK + b"\r\n",
    "of_a_terabyte": OK + b"content-length: 1099511627776\r\n\r\n",
    "that_says_gzip": OK + b"content-encoding: gzip\r\n\r\n",
}


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
    script = repeat(b"a" * 65_536, after=ENDLESS[name])
    async with Receiver(script) as receiver, sending() as sender:
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


# aiohttp warns of a body as large as it takes to fill the system's buffers.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
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
@pytest.mark.parametrize("name", [*NEVER_ENDING, *BROKEN, *ENDLESS])
async def test_no_attack_makes_the_process_hold_more_than_four_megabytes(name: str) -> None:
    if name in ENDLESS:
        script = repeat(b"a" * 65_536, after=ENDLESS[name])
    else:
        script = NEVER_ENDING[name] if name in NEVER_ENDING else BROKEN[name][0]
    async with Receiver(script) as receiver, sending(timeout=SHORT) as sender:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await post(sender, receiver.url)
        _, peak = tracemalloc.get_traced_memory()
    assert peak - before < 4_000_000
