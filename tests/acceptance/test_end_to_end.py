"""A message on its whole way: accepted, signed, posted, recorded, and seen by a watcher."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_SUCCEEDED,
    ATTEMPT_TRIGGER_SCHEDULED,
    ERROR_KIND_HTTP_STATUS,
    ERROR_KIND_UNSPECIFIED,
)
from octohooks.v1.delivery_pb2 import (
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from standardwebhooks import Webhook, WebhookVerificationError

from tests.acceptance.events import next_attempts
from tests.receivers import Receiver, respond


async def test_a_message_arrives_with_a_signature_that_an_independent_library_verifies(
    client: AsyncOctohooks, application: str, receiver: Receiver
) -> None:
    endpoint = await client.endpoint.create(application, url=receiver.url, headers={"x-own": "1"})
    (secret,) = await client.endpoint.secret(application, endpoint.id)
    payload = '{ "amount": 1.00, "name": "J\u00fcrgen" }'.encode()
    message = await client.message.create(application, event_type="invoice.paid", payload=payload)

    request = await receiver.next_request()
    assert request.line == "POST /hook HTTP/1.1"
    assert request.body == payload
    assert request.header("webhook-id") == message.id
    assert request.header("content-type") == "application/json"
    assert request.header("x-own") == "1"
    assert request.header("user-agent").startswith("Octohooks/")
    headers = {name.lower(): value for name, value in request.headers}
    assert Webhook(secret.secret).verify(request.body, headers) == {"amount": 1.0, "name": "Jürgen"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.secret).verify(request.body + b" ", headers)


async def test_each_endpoint_signs_with_a_secret_of_its_own(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver() as one, Receiver() as other:
        secrets = {}
        for receiver in (one, other):
            made = await client.endpoint.create(application, url=receiver.url)
            (secret,) = await client.endpoint.secret(application, made.id)
            secrets[receiver] = Webhook(secret.secret)
        await client.message.create(application, event_type="invoice.paid", payload={})
        for receiver, stranger in ((one, other), (other, one)):
            request = await receiver.next_request()
            headers = {name.lower(): value for name, value in request.headers}
            secrets[receiver].verify(request.body, headers)
            with pytest.raises(WebhookVerificationError):
                secrets[stranger].verify(request.body, headers)


async def test_an_endpoint_gets_the_event_types_and_channels_that_it_names(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver() as everything, Receiver() as paid, Receiver() as berlin:
        await client.endpoint.create(application, url=everything.url)
        await client.endpoint.create(application, url=paid.url, event_types=["invoice.paid"])
        await client.endpoint.create(application, url=berlin.url, channels=["berlin", "bonn"])
        sent = {}
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            for event_type, channels in (
                ("invoice.paid", []),
                ("invoice.sent", ["berlin"]),
                ("invoice.sent", ["Berlin"]),
                ("invoice.paid", ["paris", "bonn"]),
            ):
                message = await client.message.create(
                    application, event_type=event_type, payload={}, channels=channels
                )
                sent[message.id] = (event_type, *channels)
            # One attempt for each delivery, and each delivery is made when its message is accepted.
            attempts = await next_attempts(watch, 4 + 2 + 2)
        deliveries = [one async for one in client.delivery.list(application=application)]
    assert len(deliveries) == len(attempts)
    got = {
        receiver: sorted(sent[request.header("webhook-id")] for request in receiver.requests)
        for receiver in (everything, paid, berlin)
    }
    assert got[everything] == sorted(sent.values())
    assert got[paid] == [("invoice.paid",), ("invoice.paid", "paris", "bonn")]
    assert got[berlin] == [("invoice.paid", "paris", "bonn"), ("invoice.sent", "berlin")]


async def test_a_message_that_no_endpoint_wants_is_stored_and_sent_nowhere(
    client: AsyncOctohooks, application: str, receiver: Receiver
) -> None:
    await client.endpoint.create(application, url=receiver.url, event_types=["invoice.sent"])
    message = await client.message.create(application, event_type="invoice.paid", payload=b"[1]")
    stored = await client.message.get(application, message.id)
    assert stored.payload == b"[1]"
    assert [one async for one in client.delivery.list(application=application)] == []


async def test_a_failed_delivery_is_retried_by_the_endpoint_s_schedule_and_every_attempt_recorded(
    client: AsyncOctohooks, application: str
) -> None:
    failures = (
        respond(500, b"not now", [("x-reason", "maintenance"), ("set-cookie", "a=1")]),
        respond(404, b"who?"),
    )
    async with Receiver(*failures, respond(202, b"thanks")) as receiver:
        endpoint = await client.endpoint.create(
            application, url=receiver.url, retry_schedule=[0, 0.2, 0.1, 0]
        )
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="a.b", payload={"n": 1})
            seen = await next_attempts(watch, 3)
    assert [one.number for one in seen] == [1, 2, 3]
    assert [one.response_status for one in seen] == [500, 404, 202]
    assert [one.error_kind for one in seen] == [
        ERROR_KIND_HTTP_STATUS,
        ERROR_KIND_HTTP_STATUS,
        ERROR_KIND_UNSPECIFIED,
    ]
    assert [one.outcome for one in seen] == [
        ATTEMPT_OUTCOME_FAILED,
        ATTEMPT_OUTCOME_FAILED,
        ATTEMPT_OUTCOME_SUCCEEDED,
    ]
    assert [one.delivery_status for one in seen] == [
        DELIVERY_STATUS_PENDING,
        DELIVERY_STATUS_PENDING,
        DELIVERY_STATUS_SUCCEEDED,
    ]
    assert {one.trigger for one in seen} == {ATTEMPT_TRIGGER_SCHEDULED}
    assert not seen[2].HasField("next_attempt_time")
    for attempt, following, step in zip(seen, seen[1:], (0.2, 0.1), strict=False):
        ended = _time(attempt.start_time) + attempt.duration.ToTimedelta()
        wait = _time(attempt.next_attempt_time) - ended
        # The step, less a tenth of jitter at most; what is later is the machine.
        assert timedelta(seconds=step * 0.9) <= wait
        assert _time(following.start_time) >= _time(attempt.next_attempt_time)

    # The same message under one ID, signed anew each time.
    assert {request.header("webhook-id") for request in receiver.requests} == {message.id}
    assert {request.body for request in receiver.requests} == {b'{"n":1}'}

    listed = [one async for one in client.attempt.list(application=application)]
    assert [one.id for one in listed] == [one.id for one in reversed(seen)]
    assert {one.endpoint for one in listed} == {endpoint.id}
    first = await client.attempt.get(seen[0].id)
    assert first.response_body == b"not now"
    assert [(one.name, one.value) for one in first.response_headers] == [
        ("x-reason", "maintenance"),
        ("set-cookie", "a=1"),
        ("content-length", "7"),
    ]
    delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.attempt_count == 3
    assert not delivery.HasField("next_attempt_time")


async def test_a_delivery_has_failed_when_the_last_step_of_its_schedule_has(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as receiver:
        await client.endpoint.create(application, url=receiver.url, retry_schedule=[0, 0])
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="a.b", payload={})
            _, last = await next_attempts(watch, 2)
    assert last.delivery_status == DELIVERY_STATUS_FAILED
    assert not last.HasField("next_attempt_time")
    (delivery,) = [one async for one in client.delivery.list(application=application)]
    assert delivery.status == DELIVERY_STATUS_FAILED
    assert delivery.attempt_count == 2
    assert delivery.HasField("end_time")


async def test_a_watcher_sees_every_attempt_once_in_the_order_in_which_they_were_recorded(
    client: AsyncOctohooks, application: str
) -> None:
    messages, endpoints = 60, 3
    # Every third request fails, so that retries come between the others. Some fail more than once,
    # and none so often that its schedule ends.
    scripts = [respond(500 if number % 3 == 0 else 200) for number in range(messages * endpoints)]
    async with Receiver(*scripts, respond()) as receiver:
        for _ in range(endpoints):
            await client.endpoint.create(application, url=receiver.url, retry_schedule=[0] * 15)
        async with (
            client.attempt.watch(application=application) as one,
            client.attempt.watch(application=application) as other,
        ):
            await asyncio.gather(one.wait_until_live(), other.wait_until_live())
            await asyncio.gather(
                *(
                    client.message.create(application, event_type="a.b", payload={"n": number})
                    for number in range(messages)
                )
            )
            count = messages * endpoints + messages * endpoints // 3
            seen, seen_too = await asyncio.gather(
                next_attempts(one, count), next_attempts(other, count)
            )
    assert seen == seen_too
    assert len({attempt.id for attempt in seen}) == count
    numbers: dict[tuple[str, str], list[int]] = {}
    for attempt in seen:
        numbers.setdefault((attempt.message, attempt.endpoint), []).append(attempt.number)
    assert len(numbers) == messages * endpoints
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    listed = [attempt.id async for attempt in client.attempt.list(application=application)]
    assert listed == [attempt.id for attempt in reversed(seen)]


async def test_a_watch_that_begins_later_does_not_see_what_was_before(
    client: AsyncOctohooks, application: str
) -> None:
    async with Receiver() as receiver:
        await client.endpoint.create(application, url=receiver.url)
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="early", payload={})
            await next_attempts(watch, 1)
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            message = await client.message.create(application, event_type="late", payload={})
            (attempt,) = await next_attempts(watch, 1)
    assert attempt.message == message.id


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
