"""What a type checker knows about the clients. `make check` reads the `assert_type` lines; the
tests see to it that they are true."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import assert_type

import pytest
from octohooks import Acknowledgement, AsyncOctohooks, AsyncWatch, Octohooks, OctohooksError, Watch
from octohooks.v1.api_key_service_pb2 import CreateApiKeyResponse
from octohooks.v1.application_pb2 import Application
from octohooks.v1.attempt_service_pb2 import AttemptEvent, WatchAttemptsResponse
from octohooks.v1.endpoint_pb2 import EndpointSecret
from octohooks.v1.message_pb2 import Message
from octohooks.values import ApplicationValues

from tests.sdk.fake_server import FakeServer


def test_calls_of_the_blocking_client_have_the_types_of_their_answers(server: FakeServer) -> None:
    event = AttemptEvent()
    server.on("WatchAttempts", lambda *_: [WatchAttemptsResponse(events=[event])])
    with Octohooks("key", target=server.target) as client:
        application = client.application.get("some-user")
        assert_type(application, Application)
        assert isinstance(application, Application)

        created = client.api_key.create(name="billing")
        assert_type(created.key, str)
        assert isinstance(created, CreateApiKeyResponse)

        secrets = client.endpoint.secret("some-user", "main")
        assert_type(secrets, list[EndpointSecret])
        assert secrets == []

        messages = client.message.list("some-user")
        assert_type(messages, Iterator[Message])
        assert list(messages) == []

        results = client.message.create_batch([])
        assert_type(results, list[Message | OctohooksError])
        assert results == []

        watch = client.attempt.watch(application="some-user")
        assert_type(watch, Watch)
        assert_type(next(watch), AttemptEvent)

        acknowledgements = client.message.publish([])
        assert_type(acknowledgements, Iterator[Acknowledgement])


async def test_calls_of_the_asyncio_client_have_the_types_of_their_answers(
    server: FakeServer,
) -> None:
    async with AsyncOctohooks("key", target=server.target) as client:
        application = await client.application.get("some-user")
        assert_type(application, Application)
        assert isinstance(application, Application)

        messages = client.message.list("some-user")
        assert_type(messages, AsyncIterator[Message])
        assert [message async for message in messages] == []

        watch = client.attempt.watch(application="some-user")
        assert_type(watch, AsyncWatch)
        assert isinstance(watch, AsyncWatch)

        acknowledgements = client.message.publish([])
        assert_type(acknowledgements, AsyncIterator[Acknowledgement])


def test_keyword_arguments_can_be_gathered_in_a_dictionary_that_is_checked(
    server: FakeServer,
) -> None:
    values: ApplicationValues = {"name": "Some User", "metadata": {"plan": "pro"}}
    with Octohooks("key", target=server.target) as client:
        client.application.update("some-user", **values)
    [request] = server.requests("UpdateApplication")
    assert sorted(request.update_mask.paths) == ["metadata", "name"]


def test_misspelt_and_missing_arguments_are_errors_of_types(server: FakeServer) -> None:
    """Each line with an ignore would be reported as one too many, were it not an error."""
    with Octohooks("key", target=server.target) as client:
        wrong: list[Callable[[], object]] = [
            lambda: client.application.create(nmae="X"),  # type: ignore[call-arg]
            lambda: client.application.get(),  # type: ignore[call-arg]
            lambda: client.endpoint.create("some-user"),  # type: ignore[call-arg]
            lambda: client.endpoint.create(
                "some-user",
                url="https://example.com",
                retry_schedule=5,  # type: ignore[arg-type]
            ),
            lambda: client.message.create("some-user", event_type="x"),  # type: ignore[call-arg]
        ]
        for call in wrong:
            with pytest.raises(TypeError):
                call()
    assert server.received == []
