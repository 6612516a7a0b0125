"""The clients as a whole: their settings, and how they end."""

import asyncio
import inspect
import threading
from typing import Any

import grpc
import octohooks
import pytest
from octohooks import AsyncOctohooks, Cancelled, Octohooks, Webhook
from octohooks.resource import Resource
from octohooks.v1.application_service_pb2 import GetApplicationResponse

from tests.sdk.conftest import Connect
from tests.sdk.fake_server import FakeServer, until_cancelled


def test_key_and_target_come_from_the_environment_unless_they_are_given(
    connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTOHOOKS_API_KEY", " key-of-the-environment\n")
    monkeypatch.setenv("OCTOHOOKS_TARGET", server.target)
    connect(None, target=None).application.get("some-user")
    monkeypatch.setenv("OCTOHOOKS_TARGET", "unix:/nowhere")
    connect("own-key", target=server.target).application.get("some-user")
    assert [received.metadata["authorization"] for received in server.received] == [
        "Bearer key-of-the-environment",
        "Bearer own-key",
    ]


def test_a_client_without_an_api_key_is_refused_with_a_sentence_that_says_where_to_put_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCTOHOOKS_API_KEY", raising=False)
    with pytest.raises(ValueError, match="OCTOHOOKS_API_KEY"):
        connect(None)


def test_an_api_key_that_cannot_be_sent_is_refused_without_being_shown(connect: Connect) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        connect("secret key")
    assert "secret" not in str(refused.value)


def test_a_client_closes_at_the_end_of_its_block(server: FakeServer) -> None:
    with Octohooks("key", target=server.target) as client:
        client.application.get("some-user")
    with pytest.raises(ValueError, match="closed"):
        client.application.get("some-user")


async def test_an_asyncio_client_closes_at_the_end_of_its_block(server: FakeServer) -> None:
    async with AsyncOctohooks("key", target=server.target) as client:
        await client.application.get("some-user")
    with pytest.raises(Exception, match="closed"):
        await client.application.get("some-user")


def test_an_asyncio_client_can_be_made_before_its_loop_runs(server: FakeServer) -> None:
    client = AsyncOctohooks("key", target=server.target)

    async def use() -> None:
        async with client:
            await client.application.get("some-user")

    asyncio.run(use())
    assert server.requests("GetApplication")


def test_closing_an_unused_client_is_fine(connect: Connect) -> None:
    client = connect()
    client.close()
    client.close()


@pytest.mark.parametrize("kind", [Octohooks, AsyncOctohooks])
def test_a_client_gives_webhook_for_receivers(kind: Any) -> None:
    assert kind.Webhook is Webhook


@pytest.mark.parametrize("arguments", [{"nmae": "X"}, {"name": "X", "update_mask": ["name"]}])
def test_an_unknown_keyword_argument_is_refused(
    arguments: dict[str, Any], client: Octohooks, server: FakeServer
) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        client.application.update("some-user", **arguments)
    assert server.received == []


def test_every_method_of_every_resource_says_what_it_does() -> None:
    for name, resource in vars(Octohooks("key")).items():
        if isinstance(resource, Resource):
            for method_name, method in inspect.getmembers(resource, callable):
                if not method_name.startswith("_"):
                    assert inspect.getdoc(method), f"{name}.{method_name}"
                    assert "self" not in inspect.signature(method).parameters


def test_the_public_names_exist() -> None:
    assert [name for name in octohooks.__all__ if not hasattr(octohooks, name)] == []


async def test_closing_an_asyncio_client_ends_its_calls_without_cancelling_their_tasks(
    server: FakeServer,
) -> None:
    arrived = threading.Event()

    def never_answer(_: Any, context: grpc.ServicerContext) -> GetApplicationResponse:
        ended = until_cancelled(context)
        arrived.set()
        ended.wait()
        return GetApplicationResponse()

    server.on("GetApplication", never_answer)
    client = AsyncOctohooks("key", target=server.target)
    call = asyncio.create_task(client.application.get("some-user"))
    await asyncio.to_thread(arrived.wait)
    await client.close()
    with pytest.raises(Cancelled):
        await call


async def test_cancelling_a_task_cancels_its_call(server: FakeServer) -> None:
    arrived = threading.Event()
    left = threading.Event()

    def never_answer(_: Any, context: grpc.ServicerContext) -> GetApplicationResponse:
        ended = until_cancelled(context)
        arrived.set()
        ended.wait()
        left.set()
        return GetApplicationResponse()

    server.on("GetApplication", never_answer)
    async with AsyncOctohooks("key", target=server.target) as client:
        call = asyncio.create_task(client.application.get("some-user"))
        await asyncio.to_thread(arrived.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(left.wait)
