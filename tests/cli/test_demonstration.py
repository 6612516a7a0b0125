"""What the demo says when not all goes well, with a fake server that lets it go wrong."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from octohooks.v1 import attempt_service_pb2, delivery_pb2, endpoint_service_pb2
from octohooks_cli import demonstration
from octohooks_cli.demonstration import demonstrate
from octohooks_cli.failures import CommandFailed
from octohooks_cli.output import Output
from octohooks_cli.server_process import ServerProcess

from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer, refuse, until_cancelled

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def fake(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo takes the fake server for its own."""

    @asynccontextmanager
    async def server_process(folder: Path) -> AsyncIterator[ServerProcess]:
        yield ServerProcess(server.target, "key")

    monkeypatch.setattr(demonstration, "server_process", server_process)
    server.on(
        "CreateEndpoint",
        lambda request, context: made(
            endpoint_service_pb2.CreateEndpointResponse,
            endpoint={"id": "ep_1", "url": request.endpoint.url},
        ),
    )
    server.on(
        "GetEndpointSecret",
        lambda request, context: made(
            endpoint_service_pb2.GetEndpointSecretResponse, secrets=[{"secret": SECRET}]
        ),
    )


def attempts(status: int, *messages: str) -> attempt_service_pb2.WatchAttemptsResponse:
    """An attempt of each message, after which its delivery stands like this."""
    return made(
        attempt_service_pb2.WatchAttemptsResponse,
        events=[{"attempt": {"message": m, "delivery_status": status}} for m in messages],
    )


async def test_a_message_that_does_not_arrive_is_told(server: FakeServer) -> None:
    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield attempts(delivery_pb2.DELIVERY_STATUS_PENDING)
        yield attempts(delivery_pb2.DELIVERY_STATUS_FAILED, "msg_1")

    server.on("WatchAttempts", watch)
    with pytest.raises(CommandFailed, match="msg_1 did not arrive"):
        await demonstrate(Output(as_json=False))


async def test_a_wrong_signature_is_told(server: FakeServer) -> None:
    def watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield attempts(delivery_pb2.DELIVERY_STATUS_PENDING)
        (create,) = server.requests("CreateEndpoint")
        url = urlsplit(create.endpoint.url)
        connection = HTTPConnection(url.hostname, url.port)
        connection.request("POST", "/", body="unsigned")
        connection.getresponse().read()
        connection.close()
        yield attempts(delivery_pb2.DELIVERY_STATUS_SUCCEEDED, "msg_1", "msg_2", "msg_3")

    server.on("WatchAttempts", watch)
    with pytest.raises(CommandFailed, match="signature was wrong"):
        await demonstrate(Output(as_json=False))


async def test_a_server_that_refuses_a_call_is_told(server: FakeServer) -> None:
    def create(request: Any, context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full")

    server.on("CreateMessage", create)
    server.on("WatchAttempts", stay)
    with pytest.raises(CommandFailed, match="the disk is full"):
        await demonstrate(Output(as_json=False))


async def test_a_demo_that_takes_too_long_is_told(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "_TIME_LIMIT", 0)
    server.on("WatchAttempts", stay)
    with pytest.raises(CommandFailed, match="not done within 0 seconds"):
        await demonstrate(Output(as_json=False))


def stay(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    ended = until_cancelled(context)
    yield attempts(delivery_pb2.DELIVERY_STATUS_PENDING)
    ended.wait()
