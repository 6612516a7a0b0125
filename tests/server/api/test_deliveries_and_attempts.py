"""AttemptService: what became of messages, and sending one again."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_FAILED,
    ATTEMPT_OUTCOME_SUCCEEDED,
    ATTEMPT_TRIGGER_MANUAL,
    ATTEMPT_TRIGGER_SCHEDULED,
    ERROR_KIND_CONNECTION_REFUSED,
    ERROR_KIND_HTTP_STATUS,
    Attempt,
    ResponseHeader,
)
from octohooks.v1.attempt_service_pb2 import (
    GetAttemptRequest,
    GetDeliveryRequest,
    ListAttemptsRequest,
    ListDeliveriesRequest,
    ResendDeliveryRequest,
)
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
    Delivery,
)
from octohooks.v1.endpoint_pb2 import DISABLE_REASON_GONE
from octohooks_server.rules.ids import is_id

from tests.receivers import Connection, Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.server.api.serving import Clock, serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/"
NO_MESSAGE = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_ENDPOINT = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_ATTEMPT = "atmpt_01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def send(octohooks: AsyncOctohooks, uid: str = "m") -> str:
    """The ID of a new message."""
    message = await octohooks.message.create("acme", event_type="e.f", payload={}, uid=uid)
    return message.id


async def test_a_delivery_that_succeeded_tells_when_and_how(
    api: Api, octohooks: AsyncOctohooks, acme: Application, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
    message = await send(octohooks)

    (delivery,) = await ended(octohooks, 1)
    (attempt,) = await attempted(octohooks, 1)

    assert delivery == Delivery(
        message=message,
        endpoint=endpoint.id,
        application=acme.id,
        event_type="e.f",
        status=DELIVERY_STATUS_SUCCEEDED,
        attempt_count=1,
        last_attempt_time=attempt.start_time,
        create_time=delivery.create_time,
        end_time=delivery.end_time,
    )
    assert delivery.create_time.ToNanoseconds() <= delivery.end_time.ToNanoseconds()
    # An attempt begins by this machine's clock; the rest is by the database's, where it has one.
    began, ended_at = attempt.start_time.ToDatetime(), delivery.end_time.ToDatetime()
    assert began - timedelta(seconds=5) < ended_at
    for references in (
        {"message": message, "endpoint": endpoint.id},
        {"message": message, "endpoint": endpoint.id, "application": acme.id},
        {"message": "m", "endpoint": "main", "application": "acme"},
    ):
        assert (await api(GetDeliveryRequest(**references))).delivery == delivery


async def test_an_attempt_tells_all_about_its_exchange(
    api: Api, octohooks: AsyncOctohooks, acme: Application
) -> None:
    headers = [("X-One", "1"), ("x-two", "zwei \xfc"), ("X-One", "2")]
    async with Receiver(respond(503, b"try\x00later\xff", headers)) as receiver:
        endpoint = await octohooks.endpoint.create(
            "acme", url=receiver.url, retry_schedule=[0, 3600]
        )
        message = await send(octohooks)
        (listed,) = await attempted(octohooks, 1)

    attempt = (await api(GetAttemptRequest(attempt=listed.id))).attempt

    assert is_id(attempt.id, "atmpt_")
    delivery = await octohooks.delivery.get(message=message, endpoint=endpoint.id)
    assert attempt == Attempt(
        id=attempt.id,
        message=message,
        endpoint=endpoint.id,
        application=acme.id,
        event_type="e.f",
        number=1,
        trigger=ATTEMPT_TRIGGER_SCHEDULED,
        url=receiver.url,
        start_time=attempt.start_time,
        duration=attempt.duration,
        outcome=ATTEMPT_OUTCOME_FAILED,
        response_status=503,
        error_kind=ERROR_KIND_HTTP_STATUS,
        error_detail=attempt.error_detail,
        response_headers=attempt.response_headers,
        response_body=b"try\x00later\xff",
        delivery_status=DELIVERY_STATUS_PENDING,
        next_attempt_time=delivery.next_attempt_time,
    )
    assert attempt.error_detail
    assert attempt.duration.ToNanoseconds() > 0
    assert [
        (header.name, header.value)
        for header in attempt.response_headers
        if header.name.lower().startswith("x-")
    ] == [("X-One", "1"), ("x-two", "zwei ü"), ("X-One", "2")]
    without_content = Attempt()
    without_content.CopyFrom(attempt)
    without_content.ClearField("response_headers")
    without_content.ClearField("response_body")
    assert listed == without_content


async def test_of_a_long_body_the_first_16_kib_are_kept_as_they_came(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    body = bytes(number % 251 for number in range(20_000))
    async with Receiver(respond(200, body)) as receiver:
        await octohooks.endpoint.create("acme", url=receiver.url)
        await send(octohooks)
        (listed,) = await attempted(octohooks, 1)

    attempt = (await api(GetAttemptRequest(attempt=listed.id))).attempt

    assert attempt.response_body == body[: 16 * 1024]
    assert attempt.response_body_truncated
    assert listed.response_body_truncated
    assert ResponseHeader(name="content-length", value="20000") in attempt.response_headers


async def test_a_delivery_whose_schedule_ended_has_failed(octohooks: AsyncOctohooks) -> None:
    async with Receiver(respond(500)) as receiver:
        await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[0, 0, 0])
        await send(octohooks)
        (delivery,) = await ended(octohooks, 1)

    attempts = await attempted(octohooks, 3)
    assert delivery.status == DELIVERY_STATUS_FAILED
    assert delivery.attempt_count == 3
    assert delivery.HasField("end_time")
    assert not delivery.HasField("next_attempt_time")
    assert [attempt.number for attempt in attempts] == [3, 2, 1]
    assert [attempt.delivery_status for attempt in attempts] == [
        DELIVERY_STATUS_FAILED,
        DELIVERY_STATUS_PENDING,
        DELIVERY_STATUS_PENDING,
    ]
    assert not attempts[0].HasField("next_attempt_time")
    assert attempts[2].HasField("next_attempt_time")


async def test_a_delivery_that_waits_says_until_when(octohooks: AsyncOctohooks) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=URL, retry_schedule=[3600])
    message = await send(octohooks)

    delivery = await octohooks.delivery.get(message=message, endpoint=endpoint.id)

    wait = delivery.next_attempt_time.ToDatetime() - delivery.create_time.ToDatetime()
    assert wait.total_seconds() == pytest.approx(3600, rel=0.1)
    assert delivery.status == DELIVERY_STATUS_PENDING
    assert not delivery.attempt_count
    assert not delivery.HasField("last_attempt_time")
    assert not delivery.HasField("end_time")


async def test_an_attempt_without_an_answer_has_no_status(octohooks: AsyncOctohooks) -> None:
    async with Receiver() as receiver:
        url = receiver.url
    await octohooks.endpoint.create("acme", url=url, retry_schedule=[0])
    await send(octohooks)

    (attempt,) = await attempted(octohooks, 1)

    assert attempt.response_status == 0
    assert attempt.error_kind == ERROR_KIND_CONNECTION_REFUSED
    assert attempt.error_detail


async def test_lists_answer_the_newest_first_page_by_page(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    for uid in ("one", "two"):
        await octohooks.endpoint.create("acme", url=receiver.url, uid=uid)
    messages = [await send(octohooks, f"m{number}") for number in range(3)]
    await ended(octohooks, 6)

    deliveries: list[Delivery] = []
    attempts: list[Attempt] = []
    token = ""
    for _ in range(2):
        page = await api(ListDeliveriesRequest(page_size=4, page_token=token))
        deliveries += page.deliveries
        token = page.next_page_token
    assert not token
    for _ in range(2):
        page = await api(ListAttemptsRequest(page_size=4, page_token=token))
        attempts += page.attempts
        token = page.next_page_token
    assert not token

    assert [one.message for one in deliveries] == [
        message for message in reversed(messages) for _ in range(2)
    ]
    assert len({(one.message, one.endpoint) for one in deliveries}) == 6
    times = [one.id.partition("_")[2] for one in attempts]
    assert times == sorted(set(times), reverse=True)
    assert len(times) == 6


async def test_a_deleted_endpoints_deliveries_and_attempts_stay_listed_by_its_id(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
    message = await send(octohooks)
    await ended(octohooks, 1)

    await octohooks.endpoint.delete("acme", endpoint.id)

    assert len(await ended(octohooks, 1, endpoint=endpoint.id)) == 1
    assert len(await attempted(octohooks, 1, endpoint=endpoint.id)) == 1
    delivery = await octohooks.delivery.get(message=message, endpoint=endpoint.id)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED


@pytest.mark.parametrize("request_type", [GetDeliveryRequest, ResendDeliveryRequest])
async def test_a_message_that_was_not_sent_to_the_endpoint_has_no_delivery(
    api: Api, octohooks: AsyncOctohooks, request_type: Any
) -> None:
    message = await send(octohooks)
    endpoint = await octohooks.endpoint.create("acme", url=URL)

    refusal = await api.refusal(request_type(message=message, endpoint=endpoint.id))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource[0] == "delivery"


async def test_resending_makes_one_manual_attempt_and_success_is_success(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    async with Receiver(respond(500), respond(200)) as receiver:
        endpoint = await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[0])
        message = await send(octohooks)
        (failed,) = await ended(octohooks, 1)
        assert failed.status == DELIVERY_STATUS_FAILED

        answer = await api(ResendDeliveryRequest(message=message, endpoint=endpoint.id))

        assert (answer.delivery.message, answer.delivery.endpoint) == (message, endpoint.id)
        again, first = await attempted(octohooks, 2)
    assert (first.number, first.trigger) == (1, ATTEMPT_TRIGGER_SCHEDULED)
    assert (again.number, again.trigger) == (2, ATTEMPT_TRIGGER_MANUAL)
    assert again.outcome == ATTEMPT_OUTCOME_SUCCEEDED
    delivery = await octohooks.delivery.get(message=message, endpoint=endpoint.id)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.attempt_count == 2


async def test_resending_what_has_succeeded_sends_it_again(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
    message = await send(octohooks)
    await ended(octohooks, 1)

    await octohooks.delivery.resend(message=message, endpoint=endpoint.id)

    requests = [await receiver.next_request() for _ in range(2)]
    assert [request.header("webhook-id") for request in requests] == [message] * 2


async def test_an_ended_delivery_that_fails_again_stays_as_it_was(
    octohooks: AsyncOctohooks,
) -> None:
    async with Receiver(respond(200), respond(500)) as receiver:
        endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
        message = await send(octohooks)
        (before,) = await ended(octohooks, 1)

        await octohooks.delivery.resend(message=message, endpoint=endpoint.id)
        again, _ = await attempted(octohooks, 2)

    assert again.outcome == ATTEMPT_OUTCOME_FAILED
    assert again.delivery_status == DELIVERY_STATUS_SUCCEEDED
    assert not again.HasField("next_attempt_time")
    after = await octohooks.delivery.get(message=message, endpoint=endpoint.id)
    assert after.status == DELIVERY_STATUS_SUCCEEDED
    assert after.end_time == before.end_time
    assert not after.HasField("next_attempt_time")


async def test_a_pending_delivery_keeps_its_schedule_when_a_manual_attempt_fails(
    octohooks: AsyncOctohooks,
) -> None:
    async with Receiver(respond(500)) as receiver:
        endpoint = await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[3600])
        message = await send(octohooks)
        before = await octohooks.delivery.get(message=message, endpoint=endpoint.id)

        await octohooks.delivery.resend(message=message, endpoint=endpoint.id)
        (attempt,) = await attempted(octohooks, 1)

    assert attempt.trigger == ATTEMPT_TRIGGER_MANUAL
    assert attempt.delivery_status == DELIVERY_STATUS_PENDING
    assert attempt.next_attempt_time == before.next_attempt_time
    after = await octohooks.delivery.get(message=message, endpoint=endpoint.id)
    assert after.status == DELIVERY_STATUS_PENDING
    assert after.next_attempt_time == before.next_attempt_time


async def test_resending_while_an_attempt_is_under_way_makes_another_right_after_it(
    octohooks: AsyncOctohooks,
) -> None:
    going_on = asyncio.Event()

    async def slow(connection: Connection) -> None:
        await going_on.wait()
        await respond(500)(connection)

    async with Receiver(slow, respond(200)) as receiver:
        endpoint = await octohooks.endpoint.create(
            "acme", url=receiver.url, retry_schedule=[0, 3600]
        )
        message = await send(octohooks)
        await receiver.next_request()

        await octohooks.delivery.resend(message=message, endpoint=endpoint.id)
        going_on.set()
        again, first = await attempted(octohooks, 2)

    assert (first.number, first.trigger) == (1, ATTEMPT_TRIGGER_SCHEDULED)
    assert (again.number, again.trigger) == (2, ATTEMPT_TRIGGER_MANUAL)
    assert again.delivery_status == DELIVERY_STATUS_SUCCEEDED


async def test_nothing_is_resent_to_a_disabled_endpoint(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
    message = await send(octohooks)
    await ended(octohooks, 1)
    await octohooks.endpoint.update("acme", endpoint.id, disabled=True)

    refusal = await api.refusal(ResendDeliveryRequest(message=message, endpoint=endpoint.id))

    assert refusal.cause == ("FAILED_PRECONDITION", "ENDPOINT_DISABLED")


async def test_nothing_is_resent_to_a_deleted_endpoint(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
    message = await send(octohooks)
    await ended(octohooks, 1)
    await octohooks.endpoint.delete("acme", endpoint.id)

    refusal = await api.refusal(ResendDeliveryRequest(message=message, endpoint=endpoint.id))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("endpoint", endpoint.id)


async def test_a_message_without_payload_is_not_resent(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url)
    message = await send(octohooks)
    await ended(octohooks, 1)
    await octohooks.message.delete_payload("acme", message)

    refusal = await api.refusal(ResendDeliveryRequest(message=message, endpoint=endpoint.id))

    assert refusal.cause == ("FAILED_PRECONDITION", "PAYLOAD_DELETED")


async def test_a_receiver_that_is_gone_disables_its_endpoint_and_cancels_the_rest(
    octohooks: AsyncOctohooks,
) -> None:
    async with Receiver(respond(410)) as receiver:
        endpoint = await octohooks.endpoint.create(
            "acme", url=receiver.url, retry_schedule=[3600, 0]
        )
        waiting, gone = await send(octohooks, "waiting"), await send(octohooks, "gone")
        await octohooks.delivery.resend(message=gone, endpoint=endpoint.id)
        deliveries = await ended(octohooks, 2)

    assert {one.message for one in deliveries} == {waiting, gone}
    assert {one.status for one in deliveries} == {DELIVERY_STATUS_CANCELLED}
    assert {one.cancel_reason for one in deliveries} == {CANCEL_REASON_ENDPOINT_DISABLED}
    after = await octohooks.endpoint.get("acme", endpoint.id)
    assert after.disabled
    assert after.disable_reason == DISABLE_REASON_GONE


async def test_a_failed_attempt_is_repeated_when_its_schedule_says(home: Home) -> None:
    clock = Clock()
    async with (
        serving(home, clock=clock) as server,
        Receiver(respond(500), respond(200)) as receiver,
    ):
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[0, 3600])
        await send(octohooks)
        (first,) = await attempted(octohooks, 1)
        wait = first.next_attempt_time.ToDatetime() - first.start_time.ToDatetime()
        assert 3240 <= wait.total_seconds() <= 3960

        clock.advance(hours=1.1)

        (delivery,) = await ended(octohooks, 1)
        assert delivery.status == DELIVERY_STATUS_SUCCEEDED
        assert delivery.attempt_count == 2
