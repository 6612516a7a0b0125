"""A fake server, and both clients by turns."""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from octohooks import AsyncOctohooks, Backoff, Octohooks
from octohooks.channel import SERVICE_CONFIG

from tests.sdk.blocking import LoopThread, blocking
from tests.sdk.fake_server import FakeServer

Connect: TypeAlias = Callable[..., Octohooks]


def _impatient_service_config() -> str:
    config: Any = copy.deepcopy(SERVICE_CONFIG)
    # With a millisecond or less, gRPC loses its own timer and the call hangs (grpc/grpc#41036).
    config["methodConfig"][0]["retryPolicy"] |= {"initialBackoff": "0.01s", "maxBackoff": "0.01s"}
    return json.dumps(config)


# As the clients are, but for the waits.
IMPATIENT: dict[str, Any] = {
    "reconnect": Backoff(initial=timedelta(0)),
    "channel_options": (
        ("grpc.service_config", _impatient_service_config()),
        ("grpc.initial_reconnect_backoff_ms", 10),
        ("grpc.min_reconnect_backoff_ms", 10),
        ("grpc.max_reconnect_backoff_ms", 10),
    ),
}


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest, server: FakeServer) -> Iterator[Connect]:
    """Makes clients of one kind, of the fake server unless told otherwise."""
    clients: list[Octohooks] = []

    def connect(api_key: str | None = "key", **options: Any) -> Octohooks:
        options = {"target": server.target, **IMPATIENT, **options}
        if request.param == "blocking":
            client = Octohooks(api_key, **options)
        else:
            loop: LoopThread = request.getfixturevalue("loop_thread")
            client = blocking(AsyncOctohooks(api_key, **options), loop)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Connect) -> Octohooks:
    """A client of the fake server."""
    return connect()
