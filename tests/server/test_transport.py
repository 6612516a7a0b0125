"""Where the server may listen in the clear, and what a connection may do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from octohooks import AsyncOctohooks, DeadlineExceeded, ResourceExhausted, Unavailable
from octohooks_server import transport
from octohooks_server.serve import Running, running
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.transport import Transport

from tests.receivers import Receiver
from tests.waiting import eventually

# Channels with equal options share a connection else.
ALONE = ("grpc.use_local_subchannel_pool", 1)
AT_ONCE = ("grpc.enable_retries", 0)

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _GOAWAY = 4, 6, 7
_ENHANCE_YOUR_CALM = 11


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Running]:
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "data_dir": folder,
        "allowed_subnets": "127.0.0.0/8",
        **settings,
    }
    async with running(Settings(**given)) as server:
        yield server


@asynccontextmanager
async def client_of(server: Running, **options: Any) -> AsyncIterator[AsyncOctohooks]:
    """A client with a connection of its own."""
    assert server.first_start is not None
    key = server.first_start.api_key
    given = {"channel_options": [ALONE, AT_ONCE], **options}
    async with AsyncOctohooks(key, target=server.address, **given) as client:
        yield client


@asynccontextmanager
async def health_of(server: Running) -> AsyncIterator[Any]:
    """Calls to the server without anything that the SDK adds."""
    async with grpc.aio.insecure_channel(server.address, [ALONE]) as channel:
        yield HealthStub(channel)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0"])
def test_loopback_may_be_listened_at_in_the_clear(listen: str) -> None:
    Transport(Settings(listen=listen))


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", "localhost.example.com:0", "[::ffff:0:1]:0"]
)
def test_elsewhere_the_clear_has_to_be_asked_for(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"OCTOHOOKS_ALLOW_PLAINTEXT=true"):
        Transport(Settings(listen=listen))
    Transport(Settings(listen=listen, allow_plaintext=True))


async def test_a_request_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, client_of(server) as client:
        with pytest.raises(ResourceExhausted):
            await client.application.create(name="x" * transport.MAX_REQUEST_BYTES)
        await client.application.create(name="x")


async def test_a_response_that_is_too_large_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_RESPONSE_BYTES", 500)
    async with serving(tmp_path) as server, client_of(server) as client:
        await client.application.create(name="small")
        with pytest.raises(ResourceExhausted):
            await client.application.create(metadata={"k": "v" * 500})


async def test_a_call_with_too_much_metadata_is_refused(tmp_path: Path) -> None:
    most = transport.MAX_METADATA_BYTES
    async with serving(tmp_path) as server, health_of(server) as health:
        await health.Check(HealthCheckRequest(), metadata=[("x-note", "x" * (most - 1_000))])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(HealthCheckRequest(), metadata=[("x-note", "x" * most)])
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_those_of_a_connection_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_STREAMS_PER_CONNECTION", 1)
    async with serving(tmp_path) as server, client_of(server) as client:
        async with client.attempt.watch() as watch:
            await watch.wait_until_live()
            with pytest.raises(DeadlineExceeded):
                await client.with_timeout(0.1).application.create()
        await client.application.create()


async def test_connections_beyond_the_limit_are_closed_until_others_end(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=1) as server:
        async with client_of(server) as first, client_of(server) as second:
            await first.application.create(uid="made-by-the-first")
            with pytest.raises(Unavailable):
                await second.application.create()
            await first.application.get("made-by-the-first")

        async def is_served() -> bool:
            async with client_of(server) as third:
                try:
                    return (await third.application.get("made-by-the-first")).id != ""
                except Unavailable:
                    return False

        assert await eventually(is_served)


async def test_the_sdks_watch_outlives_the_age_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONNECTION_AGE_GRACE", timedelta(milliseconds=50))
    age = timedelta(seconds=1)
    async with (
        Receiver() as receiver,
        serving(tmp_path, max_connection_age=age) as server,
        client_of(server, channel_options=[ALONE]) as client,
        health_of(server) as health,
        client.attempt.watch() as watch,
    ):
        await client.application.create(uid="acme")
        await client.endpoint.create("acme", url=receiver.url)
        await watch.wait_until_live()
        # Their ages differ by a tenth either way, so the one that began before is cut off by then.
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as cut:
                async for _ in health.Watch(HealthCheckRequest()):
                    pass
            assert cut.value.code() == grpc.StatusCode.UNAVAILABLE
        await client.message.create("acme", event_type="sent.later", payload={})
        assert (await anext(watch)).attempt.event_type == "sent.later"


async def test_whoever_says_nothing_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_TIMEOUT", timedelta(milliseconds=50))
    async with serving(tmp_path) as server, tcp(server) as (reader, _):
        await reader.read()


async def test_whoever_answers_no_ping_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "KEEPALIVE_TIME", timedelta(milliseconds=50))
    monkeypatch.setattr(transport, "KEEPALIVE_TIMEOUT", timedelta(milliseconds=50))
    async with serving(tmp_path) as server, tcp(server) as (reader, writer):
        writer.write(_PREFACE + frame(_SETTINGS))
        assert _PING in [kind async for kind, _ in frames(reader)]


async def test_whoever_pings_without_end_is_disconnected(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, tcp(server) as (reader, writer):
        writer.write(_PREFACE + frame(_SETTINGS) + 10 * frame(_PING, bytes(8)))
        farewells = [payload async for kind, payload in frames(reader) if kind == _GOAWAY]
        assert int.from_bytes(farewells[-1][4:8]) == _ENHANCE_YOUR_CALM


@asynccontextmanager
async def tcp(server: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which the test speaks for itself."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1) about the connection, without flags."""
    return len(payload).to_bytes(3) + bytes([kind, 0]) + bytes(4) + payload


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """The kinds and payloads of frames until the server closes the connection."""
    while head := await reader.read(9):
        head += await reader.readexactly(9 - len(head))
        yield head[3], await reader.readexactly(int.from_bytes(head[:3]))
