"""Receivers that attack get what they deserve: an attempt that failed in time, and no more."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_SUCCEEDED,
    ERROR_KIND_REDIRECT,
    ERROR_KIND_TLS,
    ERROR_KIND_UNSPECIFIED,
    Attempt,
)

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.acceptance.memory import MEGABYTE, added_less_than
from tests.acceptance.process import ServerProcess, running_server
from tests.attacks import BROKEN, ENDLESS, NEVER_ENDING, TIMEOUT
from tests.certificates import Authority
from tests.receivers import Receiver, respond

ONE_SECOND = timedelta(seconds=1)
AT_ONCE = 20
# What twenty attempts may take: the first 16 KiB of head and of body each, and what it takes to
# read and to record them. Less than what the attack with a megabyte of headers sends.
BOUND = 16 * MEGABYTE


@pytest.fixture(scope="module")
def hurried_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose attempts take a second at most, for the attacks that never end."""
    with running_server(tmp_path_factory.mktemp("hurried"), request_timeout="1") as server:
        yield server


@pytest.fixture
async def hurried(hurried_server: ServerProcess) -> AsyncIterator[AsyncOctohooks]:
    """A client of the server whose attempts take a second at most."""
    async with hurried_server.connect() as client:
        yield client


async def attempts_at(client: AsyncOctohooks, url: str, count: int = AT_ONCE) -> list[Attempt]:
    """What ListAttempts shows of so many messages sent at once to a new endpoint at this URL."""
    application = (await client.application.create()).id
    await client.endpoint.create(application, url=url, retry_schedule=[0])
    async with client.attempt.watch(application=application) as watch:
        await watch.wait_until_live()
        await asyncio.gather(
            *(
                client.message.create(application, event_type="a.b", payload={})
                for _ in range(count)
            )
        )
        await next_attempts(watch, count)
    listed = [one async for one in client.attempt.list(application=application)]
    assert len(listed) == count
    return listed


def assert_failed_without_a_response(attempt: Attempt) -> None:
    """Nothing is made up about a response that did not come as a whole."""
    assert attempt.outcome == ATTEMPT_OUTCOME_FAILED
    assert attempt.response_status == 0
    assert not attempt.response_headers
    assert attempt.response_body == b""
    assert 0 < len(attempt.error_detail) <= 200


@pytest.mark.parametrize("name", NEVER_ENDING)
async def test_an_answer_that_never_ends_is_cut_off_by_the_timeout(
    name: str, hurried: AsyncOctohooks, hurried_server: ServerProcess
) -> None:
    async with Receiver(NEVER_ENDING[name]) as receiver:
        with added_less_than(BOUND, hurried_server.pid):
            attempts = await attempts_at(hurried, receiver.url)
        await receiver.wait_for_ended_connections(receiver.connections)
    for attempt in attempts:
        assert attempt.error_kind == TIMEOUT
        assert_failed_without_a_response(attempt)
        # The timers of the loop go by whole milliseconds. A loaded machine is late.
        assert attempt.duration.ToTimedelta() >= 0.99 * ONE_SECOND


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none_is_a_typed_error_without_a_status(
    name: str, client: AsyncOctohooks, server: ServerProcess
) -> None:
    script, kind = BROKEN[name]
    async with Receiver(script) as receiver:
        with added_less_than(BOUND, server.pid):
            attempts = await attempts_at(client, receiver.url)
        await receiver.wait_for_ended_connections(AT_ONCE)
    for attempt in attempts:
        assert attempt.error_kind == kind
        assert_failed_without_a_response(attempt)


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_body_is_cut_and_counts_by_its_status(
    name: str, client: AsyncOctohooks, server: ServerProcess
) -> None:
    async with Receiver(ENDLESS[name]) as receiver:
        with added_less_than(BOUND, server.pid):
            attempts = await attempts_at(client, receiver.url)
        await receiver.wait_for_ended_connections(AT_ONCE)
    for attempt in attempts:
        assert attempt.outcome == ATTEMPT_OUTCOME_SUCCEEDED
        assert attempt.error_kind == ERROR_KIND_UNSPECIFIED
        assert (attempt.response_status, attempt.response_body_truncated) == (200, True)


async def test_a_gzip_bomb_is_never_unpacked(client: AsyncOctohooks, server: ServerProcess) -> None:
    """One attempt that unpacked it would take more memory than all twenty may."""
    bomb = gzip.compress(bytes(2 * BOUND))
    async with Receiver(respond(200, bomb, [("content-encoding", "gzip")])) as receiver:
        with added_less_than(BOUND, server.pid):
            attempts = await attempts_at(client, receiver.url)
        (attempt, *_) = attempts
        assert (await client.attempt.get(attempt.id)).response_body == bomb[:16_384]
    assert {one.response_status for one in attempts} == {200}


async def test_a_redirect_loop_is_one_request_and_a_failure_with_its_status(
    client: AsyncOctohooks,
) -> None:
    async with Receiver(respond(302, headers=[("location", "/hook")])) as receiver:
        attempts = await attempts_at(client, receiver.url)
        assert len(receiver.requests) == AT_ONCE
    for attempt in attempts:
        assert (attempt.response_status, attempt.error_kind) == (302, ERROR_KIND_REDIRECT)
        assert attempt.outcome == ATTEMPT_OUTCOME_FAILED


async def test_a_certificate_that_is_not_good_is_a_tls_error(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a receiver with a good one the same server delivers."""
    trusted, stranger = Authority.make(), Authority.make()
    roots = tmp_path / "roots.pem"
    roots.write_text(trusted.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    server = await start_server()
    answers: list[tuple[ssl.SSLContext, str]] = [
        (trusted.server_context(tmp_path, "127.0.0.1"), ""),
        (
            trusted.server_context(tmp_path, "127.0.0.1", lifetime=timedelta(days=-1)),
            "The certificate has expired.",
        ),
        (
            trusted.server_context(tmp_path, "127.0.0.2"),
            "The certificate was made for another address.",
        ),
        (
            stranger.server_context(tmp_path, "127.0.0.1"),
            "The certificate comes from an unknown issuer.",
        ),
    ]
    async with server.connect() as client:
        for tls, detail in answers:
            async with Receiver(tls=tls) as receiver:
                (attempt,) = await attempts_at(client, receiver.url, 1)
                assert attempt.error_detail == detail
                if detail:
                    assert attempt.error_kind == ERROR_KIND_TLS
                    assert_failed_without_a_response(attempt)
                    assert receiver.requests == []
                else:
                    assert attempt.response_status == 200
