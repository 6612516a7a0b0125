"""SendExample: the first example of an event type, to one endpoint alone."""

import asyncio
from typing import Any

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED
from octohooks.v1.endpoint_service_pb2 import SendExampleRequest
from octohooks.v1.message_service_pb2 import ListMessagesRequest

from tests.receivers import Receiver
from tests.server.api.calls import Api
from tests.server.api.deliveries import ended

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
EXAMPLES = ['{ "amount": 1 }', '{"amount":2}']


def sending(**values: Any) -> SendExampleRequest:
    given = {"application": "acme", "endpoint": "main", "event_type": "invoice.paid", **values}
    return SendExampleRequest(**given)


async def test_the_first_example_goes_to_this_endpoint_alone_whatever_its_filters(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.event_type.create("invoice.paid", examples=EXAMPLES)
    main = await octohooks.endpoint.create(
        "acme", url=receiver.url, uid="main", event_types=["other"], channels=["other"]
    )
    async with Receiver() as everything:
        await octohooks.endpoint.create("acme", url=everything.url)

        message = (await api(sending())).message
        (delivery,) = await ended(octohooks, 1)

        assert everything.requests == []
    assert (delivery.message, delivery.endpoint) == (message.id, main.id)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    request = await receiver.next_request()
    assert request.body == EXAMPLES[0].encode()
    assert request.header("webhook-id") == message.id
    assert message.event_type == "invoice.paid"
    assert not message.payload
    stored = await octohooks.message.get("acme", message.id)
    assert stored.payload == EXAMPLES[0].encode()


async def test_the_example_of_an_archived_event_type_can_be_sent_too(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    """Archiving keeps new messages of the sender away; it says nothing of trials."""
    await octohooks.event_type.create("invoice.paid", examples=EXAMPLES)
    await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
    await octohooks.event_type.archive("invoice.paid")

    message = (await api(sending())).message

    assert (await receiver.next_request()).header("webhook-id") == message.id


async def test_an_example_is_sent_once_under_one_idempotency_key(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    await octohooks.event_type.create("invoice.paid", examples=EXAMPLES)
    await octohooks.endpoint.create("acme", url=URL, uid="main", retry_schedule=[3600])

    answers = await asyncio.gather(*(api(sending(), idempotency_key="k") for _ in range(5)))

    assert len({answer.message.id for answer in answers}) == 1
    assert len((await api(ListMessagesRequest(application="acme"))).messages) == 1


@pytest.mark.parametrize(
    ("values", "cause", "about"),
    [
        pytest.param({"application": ""}, "INVALID_FIELD", ["application"], id="no application"),
        pytest.param({"endpoint": ""}, "INVALID_FIELD", ["endpoint"], id="no endpoint"),
        pytest.param({"event_type": ""}, "INVALID_FIELD", ["event_type"], id="no event type"),
        pytest.param({"event_type": "a b"}, "INVALID_FIELD", ["event_type"], id="a wrong one"),
        pytest.param({"application": "n"}, "NOT_FOUND", ("application", "n"), id="application"),
        pytest.param({"endpoint": "n"}, "NOT_FOUND", ("endpoint", "n"), id="unknown UID"),
        pytest.param({"endpoint": NEVER}, "NOT_FOUND", ("endpoint", NEVER), id="unknown ID"),
        pytest.param({"event_type": "n"}, "NOT_FOUND", ("event type", "n"), id="unknown type"),
        pytest.param({"event_type": "bare"}, "NO_EXAMPLE", None, id="a type without example"),
        pytest.param({"endpoint": "off"}, "ENDPOINT_DISABLED", None, id="a disabled endpoint"),
    ],
)
async def test_an_example_is_refused(
    api: Api, octohooks: AsyncOctohooks, values: dict[str, Any], cause: str, about: Any
) -> None:
    await octohooks.event_type.create("invoice.paid", examples=EXAMPLES)
    await octohooks.event_type.create("bare")
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    await octohooks.endpoint.create("acme", url=URL, uid="off", disabled=True)

    refusal = await api.refusal(sending(**values))

    assert refusal.reason == cause
    if cause == "INVALID_FIELD":
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", about)
    elif cause == "NOT_FOUND":
        assert (refusal.code, refusal.resource) == ("NOT_FOUND", about)
    else:
        assert refusal.code == "FAILED_PRECONDITION"
    assert not (await api(ListMessagesRequest(application="acme"))).messages
