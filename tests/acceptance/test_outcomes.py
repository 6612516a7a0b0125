"""What follows from a receiver's answer, and from the end of an endpoint."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_GONE
from octohooks.values import NewMessage

from tests.acceptance.events import next_attempt, next_attempts, next_cancelled
from tests.acceptance.receiving import answer_after
from tests.receivers import Receiver, respond

HOUR = 3_600


async def test_gone_disables_the_endpoint_and_cancels_what_waits_for_it(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500), respond(410)) as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0, HOUR]
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            waiting = await client.message.create(application, event_type="a.b", payload={})
            assert (await next_attempt(watch)).delivery_status == DELIVERY_STATUS_PENDING
            refused = await client.message.create(application, event_type="a.b", payload={})
            attempt = await next_attempt(watch)
            assert attempt.message == refused.id
            assert attempt.response_status == 410
            assert attempt.delivery_status == DELIVERY_STATUS_CANCELLED
            assert not attempt.HasField("next_attempt_time")
            cancelled = await next_cancelled(watch)
            assert cancelled.message == waiting.id
            assert cancelled.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED
        found = await client.endpoint.get(application, endpoint.id)
        assert found.disabled
        assert found.disable_reason == DISABLE_REASON_GONE
        # It wants no message any more, so later ones are sent nowhere.
        later = await client.message.create(application, event_type="a.b", payload={})
        deliveries = [one async for one in client.delivery.list(application=application)]
    assert {one.message for one in deliveries} == {waiting.id, refused.id}
    assert later.id not in {request.header("webhook-id") for request in receiver.requests}


async def test_what_waits_in_memory_for_an_endpoint_that_is_gone_is_not_attempted_any_more(
    client: AsyncOctohooks, application: str
) -> None:
    """Twenty attempts are under way; when one is told of the end, ten more have been claimed.

    One more may begin before that outcome is recorded.
    """
    gone, rest = asyncio.Event(), asyncio.Event()
    async with Receiver(answer_after(gone, 410), answer_after(rest)) as receiver:
        await client.endpoint.create(application, url=receiver.url)
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message: NewMessage = {"application": application, "event_type": "a.b", "payload": {}}
            await client.message.create_batch([message] * 30)
            for _ in range(20):
                await receiver.next_request()
            gone.set()
            attempt = await next_attempt(watch)
            assert attempt.response_status == 410
            for _ in range(9):
                await next_cancelled(watch)
            rest.set()
            for _ in range(20):
                await anext(watch)
        assert len(receiver.requests) <= 21


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_pushes_the_next_attempt_to_its_time(
    client: AsyncOctohooks, application: str, status: int, form: str
) -> None:
    # A date has whole seconds.
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)
    value = "1800" if form == "seconds" else format_datetime(until, usegmt=True)
    attempt = await _one_attempt(client, application, status, value, step=5)
    next_time = _time(attempt.next_attempt_time)
    if form == "date":
        assert next_time == until
    else:
        ended = _time(attempt.start_time) + attempt.duration.ToTimedelta()
        assert timedelta(0) <= next_time - ended - timedelta(seconds=1_800) < timedelta(seconds=60)


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (503, "1"),
        (503, "-60"),
        (503, "soon"),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (500, "1800"),
        (404, "1800"),
    ],
)
async def test_a_retry_after_that_is_earlier_or_none_or_of_another_status_changes_nothing(
    client: AsyncOctohooks, application: str, status: int, value: str
) -> None:
    attempt = await _one_attempt(client, application, status, value, step=600)
    ended = _time(attempt.start_time) + attempt.duration.ToTimedelta()
    wait = _time(attempt.next_attempt_time) - ended
    assert timedelta(seconds=540) <= wait <= timedelta(seconds=660 + 60)


async def test_a_retry_after_has_a_cap(client: AsyncOctohooks, application: str) -> None:
    attempt = await _one_attempt(client, application, 503, "999999999999", step=5)
    wait = _time(attempt.next_attempt_time) - _time(attempt.start_time)
    assert wait <= timedelta(hours=24, seconds=60)


async def test_a_retry_after_does_not_prolong_the_schedule(
    client: AsyncOctohooks, application: str
) -> None:
    attempt = await _one_attempt(client, application, 503, "1800", step=None)
    assert not attempt.HasField("next_attempt_time")


async def test_disabling_an_endpoint_cancels_what_waits_for_it(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0, HOUR]
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="a.b", payload={})
            await next_attempt(watch)
            await client.endpoint.update(application, endpoint.id, disabled=True)
            cancelled = await next_cancelled(watch)
        assert cancelled.message == message.id
        assert cancelled.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED
        assert cancelled.attempt_count == 1
        delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
        assert delivery == cancelled
        # Enabling it again does not revive what was cancelled; new messages come again.
        await client.endpoint.update(application, endpoint.id, disabled=False)
        await receiver.next_request()
        later = await client.message.create(application, event_type="a.b", payload={})
        assert (await receiver.next_request()).header("webhook-id") == later.id
        assert await client.delivery.get(message=message.id, endpoint=endpoint.id) == delivery


async def test_deleting_an_endpoint_cancels_what_waits_for_it_and_keeps_its_history(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0, HOUR]
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="a.b", payload={})
            attempt = await next_attempt(watch)
            await client.endpoint.delete(application, endpoint.id)
            cancelled = await next_cancelled(watch)
    assert cancelled.cancel_reason == CANCEL_REASON_ENDPOINT_DELETED
    delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery == cancelled
    assert (await client.attempt.get(attempt.id)).response_status == 500


async def test_deleting_an_application_cancels_what_waits_for_all_its_endpoints(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as receiver:
        for _ in range(2):
            await client.endpoint.create(application, url=receiver.url, retry_schedule=[0, HOUR])
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="a.b", payload={})
            await next_attempts(watch, 2)
            await client.application.delete(application)
            cancelled = [await next_cancelled(watch) for _ in range(2)]
    assert {one.cancel_reason for one in cancelled} == {CANCEL_REASON_APPLICATION_DELETED}


@pytest.mark.parametrize("end", ["disabled", "deleted"])
@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, DELIVERY_STATUS_SUCCEEDED), (500, DELIVERY_STATUS_CANCELLED)],
)
async def test_an_attempt_under_way_when_its_endpoint_ends_is_recorded_and_is_the_last(
    client: AsyncOctohooks, application: str, end: str, status: int, expected: int
) -> None:
    gate = asyncio.Event()
    async with Receiver(answer_after(gate, status)) as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0] * 5
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="a.b", payload={})
            await receiver.next_request()
            if end == "disabled":
                await client.endpoint.update(application, endpoint.id, disabled=True)
            else:
                await client.endpoint.delete(application, endpoint.id)
            gate.set()
            attempt = await next_attempt(watch)
    assert attempt.delivery_status == expected
    assert not attempt.HasField("next_attempt_time")
    delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery.status == expected
    assert delivery.attempt_count == 1
    assert not delivery.HasField("next_attempt_time")


async def test_what_waits_in_memory_for_an_endpoint_that_is_disabled_is_cancelled_too(
    client: AsyncOctohooks, application: str
) -> None:
    """Twenty are under way, and the others wait: some in memory, the rest in the database."""
    gate = asyncio.Event()
    count = 70
    async with Receiver(answer_after(gate)) as receiver:
        endpoint = await client.endpoint.create(application, url=receiver.url)
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            for _ in range(count):
                await client.message.create(application, event_type="a.b", payload={})
            under_way = [await receiver.next_request() for _ in range(20)]
            await client.endpoint.update(application, endpoint.id, disabled=True)
            cancelled = [await next_cancelled(watch) for _ in range(count - 20)]
            gate.set()
            attempts = await next_attempts(watch, 20)
    assert {one.cancel_reason for one in cancelled} == {CANCEL_REASON_ENDPOINT_DISABLED}
    assert {one.message for one in attempts} == {one.header("webhook-id") for one in under_way}
    assert len(receiver.requests) == 20


async def test_a_change_of_the_url_reaches_what_waits_already(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as old, Receiver() as new:
        endpoint = await client.endpoint.create(
            application, url=old.url, retry_schedule=[0, 5], headers={"x-version": "1"}
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="a.b", payload={})
            await next_attempt(watch)
            await client.endpoint.update(
                application, endpoint.id, url=new.url, headers={"x-version": "2"}
            )
            second = await next_attempt(watch)
        assert second.url == new.url
        request = await new.next_request()
        assert request.header("webhook-id") == message.id
        assert request.header("x-version") == "2"


async def _one_attempt(
    client: AsyncOctohooks, application: str, status: int, retry_after: str, step: float | None
) -> Attempt:
    """The first attempt of a message, answered so; `step` is the wait that follows by schedule."""
    async with Receiver(respond(status, headers=[("Retry-After", retry_after)])) as receiver:
        await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0] if step is None else [0, step]
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="a.b", payload={})
            return await next_attempt(watch)


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
