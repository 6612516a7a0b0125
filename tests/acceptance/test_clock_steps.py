"""A clock that is set by an hour causes neither a burst nor a stall.

The server runs in the process of the test, which sets its clock; calls and requests go over real
sockets.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCEEDED
from octohooks_server.serve import running
from octohooks_server.settings import Settings

from tests.acceptance.events import next_attempt, next_attempts
from tests.receivers import Receiver, respond

HOUR = timedelta(hours=1)
WAITING = 20
SOON = 0.2

either_way = pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])


class SystemClock:
    """The machine's clock, as far as the server sees it; it can be set."""

    def __init__(self) -> None:
        self._set_by = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._set_by

    def step(self, by: timedelta) -> None:
        self._set_by += by


@asynccontextmanager
async def serving(folder: Path, clock: SystemClock) -> AsyncIterator[AsyncOctohooks]:
    """A client of a server that goes by this clock."""
    settings = Settings(
        data_dir=folder, listen="127.0.0.1:0", allowed_subnets=(ip_network("127.0.0.0/8"),)
    )
    async with running(settings, wall=clock) as server:
        assert server.first_start is not None
        async with AsyncOctohooks(server.first_start.api_key, target=server.address) as client:
            yield client


async def application_at(client: AsyncOctohooks, url: str, *steps: float) -> str:
    """A new application with an endpoint that is retried after these seconds."""
    application = (await client.application.create()).id
    await client.endpoint.create(application, url=url, retry_schedule=[0, *steps])
    return application


@either_way
async def test_retries_that_are_due_later_neither_come_at_once_nor_keep_new_messages_waiting(
    tmp_path: Path, step: timedelta
) -> None:
    """What is due in half an hour still is, give or take the jitter, and what is due soon, soon."""
    clock = SystemClock()
    async with (
        serving(tmp_path, clock) as client,
        Receiver(respond(500)) as failing,
        Receiver(respond(500), respond(200)) as recovering,
        client.attempt.watch() as watch,
    ):
        await watch.wait_until_live()
        later = await application_at(client, failing.url, (HOUR / 2).total_seconds())
        for _ in range(WAITING):
            await client.message.create(later, event_type="a.b", payload={})
        await next_attempts(watch, WAITING)
        before = clock()

        clock.step(step)
        soon = await application_at(client, recovering.url, SOON)
        message = await client.message.create(soon, event_type="a.b", payload={})
        for outcome in (ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCEEDED):
            attempt = await next_attempt(watch)
            assert (attempt.message, attempt.outcome) == (message.id, outcome)
        # No burst: of those that wait, none has come before the new one's retry.
        assert len(failing.requests) == WAITING
        waiting = client.delivery.list(application=later, statuses=["pending"])
        due = [one.next_attempt_time.ToDatetime(UTC) async for one in waiting]
    assert len(due) == WAITING
    assert all(timedelta(minutes=25) < time - before < timedelta(minutes=35) for time in due)


@either_way
async def test_a_retry_that_waits_while_the_clock_is_set_comes_in_its_own_time(
    tmp_path: Path, step: timedelta
) -> None:
    """Set back, it would come an hour late, longer than the test may take."""
    clock = SystemClock()
    async with (
        serving(tmp_path, clock) as client,
        Receiver(respond(500), respond(200)) as receiver,
        client.attempt.watch() as watch,
    ):
        await watch.wait_until_live()
        application = await application_at(client, receiver.url, 4)
        message = await client.message.create(application, event_type="a.b", payload={})
        first = await next_attempt(watch)
        clock.step(step)
        second = await next_attempt(watch)
        assert (second.message, second.outcome) == (message.id, ATTEMPT_OUTCOME_SUCCEEDED)
        # By the server's clock, which ran an hour off: what really passed is the step's four
        # seconds less the jitter, and no less.
        passed = second.start_time.ToDatetime(UTC) - first.start_time.ToDatetime(UTC) - step
        assert passed > timedelta(seconds=3)


@either_way
async def test_receivers_are_told_the_time_that_the_clock_shows(
    tmp_path: Path, step: timedelta
) -> None:
    """They compare it with their own clocks, which were right all along."""
    clock = SystemClock()
    async with serving(tmp_path, clock) as client, Receiver() as receiver:
        application = await application_at(client, receiver.url)
        clock.step(step)
        before = clock()
        await client.message.create(application, event_type="a.b", payload={})
        request = await receiver.next_request()
    told = datetime.fromtimestamp(int(request.header("webhook-timestamp")), UTC)
    assert before - timedelta(seconds=1) <= told <= clock()
