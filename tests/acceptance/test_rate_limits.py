"""Rate limits delay messages, drop none, and hold up nobody else."""

import asyncio
import time
from collections import Counter

import pytest
from octohooks import AsyncOctohooks

from tests.acceptance.receiving import message_ids
from tests.receivers import Receiver

PER_SECOND = 5
COUNT = 20
# One second gets at most the limit and a tenth of it, and the first message goes at once.
LEAST_SECONDS = (COUNT - 1) / PER_SECOND / 1.1


async def send(client: AsyncOctohooks, application: str, count: int = COUNT) -> set[str]:
    """Sends messages, all at once; answers their IDs."""
    made = await asyncio.gather(
        *(client.message.create(application, event_type="a.b", payload={}) for _ in range(count))
    )
    return {message.id for message in made}


async def until_received(receiver: Receiver, count: int = COUNT) -> None:
    """Returns once so many requests have come, by now."""
    while len(receiver.requests) < count:
        await receiver.next_request()


def assert_each_came_once(receiver: Receiver, sent: set[str]) -> None:
    assert Counter(message_ids(receiver)) == Counter(sent)


async def test_a_limit_of_an_endpoint_delays_all_of_its_messages_and_nobody_else_s(
    client: AsyncOctohooks, application: str
) -> None:
    """More wait than are held in memory under a limit; the others have theirs long before."""
    async with Receiver() as limited, Receiver() as sibling, Receiver() as stranger:
        await client.endpoint.create(application, url=limited.url, rate_limit=PER_SECOND)
        await client.endpoint.create(application, url=sibling.url)
        other = (await client.application.create()).id
        await client.endpoint.create(other, url=stranger.url)
        began = time.monotonic()
        sent = await send(client, application)
        sent_to_other = await send(client, other)
        await until_received(sibling)
        await until_received(stranger)
        assert len(limited.requests) < COUNT
        await until_received(limited)
        # At the least: a slow machine only takes longer.
        assert time.monotonic() - began >= LEAST_SECONDS
    assert_each_came_once(limited, sent)
    assert_each_came_once(sibling, sent)
    assert_each_came_once(stranger, sent_to_other)


async def test_a_limit_of_an_application_is_shared_by_its_endpoints_and_delays_no_other_one(
    client: AsyncOctohooks,
) -> None:
    limited = (await client.application.create(rate_limit=PER_SECOND)).id
    other = (await client.application.create()).id
    async with Receiver() as first, Receiver() as second, Receiver() as stranger:
        for receiver in (first, second):
            await client.endpoint.create(limited, url=receiver.url)
        await client.endpoint.create(other, url=stranger.url)
        began = time.monotonic()
        sent = await send(client, limited, COUNT // 2)
        sent_to_other = await send(client, other)
        await until_received(stranger)
        assert len(first.requests) + len(second.requests) < COUNT
        for receiver in (first, second):
            await until_received(receiver, COUNT // 2)
        assert time.monotonic() - began >= LEAST_SECONDS
    for receiver in (first, second):
        assert_each_came_once(receiver, sent)
    assert_each_came_once(stranger, sent_to_other)


async def test_the_stricter_of_two_limits_holds(client: AsyncOctohooks) -> None:
    application = (await client.application.create(rate_limit=PER_SECOND)).id
    async with Receiver() as receiver:
        await client.endpoint.create(application, url=receiver.url, rate_limit=1_000)
        began = time.monotonic()
        sent = await send(client, application)
        await until_received(receiver)
        assert time.monotonic() - began >= LEAST_SECONDS
    assert_each_came_once(receiver, sent)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("of", ["endpoint", "application"])
async def test_what_waits_under_a_limit_goes_out_when_the_limit_is_taken_away(
    client: AsyncOctohooks, of: str
) -> None:
    """Under the old limit it would take longer than the test may."""
    count = 100
    application = (await client.application.create(rate_limit=int(of == "application"))).id
    async with Receiver() as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, rate_limit=int(of == "endpoint")
        )
        sent = await send(client, application, count)
        await receiver.next_request()
        if of == "endpoint":
            await client.endpoint.update(application, endpoint.id, rate_limit=0)
        else:
            await client.application.update(application, rate_limit=0)
        await until_received(receiver, count)
    assert_each_came_once(receiver, sent)
