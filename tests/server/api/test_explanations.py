"""ExplainMessage: which endpoints got a message, which did not, and by which rule."""

from typing import Any

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.message_service_pb2 import (
    ROUTING_RULE_ADDRESSED,
    ROUTING_RULE_ADDRESSED_ELSEWHERE,
    ROUTING_RULE_CHANNEL,
    ROUTING_RULE_CREATED_LATER,
    ROUTING_RULE_DISABLED,
    ROUTING_RULE_EVENT_TYPE,
    ROUTING_RULE_MATCHED,
    EndpointExplanation,
    ExplainMessageRequest,
)

from tests.receivers import Receiver
from tests.server.api.calls import Api
from tests.server.api.deliveries import ended
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/"
NEVER = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"


async def endpoint(octohooks: AsyncOctohooks, **values: Any) -> str:
    """The ID of a new endpoint whose deliveries stay pending."""
    values = {"url": URL, "retry_schedule": [3600], **values}
    return (await octohooks.endpoint.create("acme", **values)).id


async def explained(octohooks: AsyncOctohooks, message: str) -> list[EndpointExplanation]:
    return [one async for one in octohooks.message.explain("acme", message)]


async def test_the_first_rule_that_applies_is_told_oldest_endpoint_first(
    octohooks: AsyncOctohooks,
) -> None:
    nothing_fits = {"event_types": ["other"], "channels": ["other"]}
    matched = await endpoint(octohooks)
    both_match = await endpoint(octohooks, event_types=["e", "f"], channels=["b", "c"])
    disabled = await endpoint(octohooks, disabled=True, **nothing_fits)
    other_event_type = await endpoint(octohooks, **nothing_fits)
    other_channel = await endpoint(octohooks, event_types=["e"], channels=["other"])

    message = await octohooks.message.create(
        "acme", event_type="e", payload={}, channels=["a", "b"], uid="m"
    )
    later = await endpoint(octohooks)

    explanations = await explained(octohooks, "m")
    assert [(one.endpoint, one.rule) for one in explanations] == [
        (matched, ROUTING_RULE_MATCHED),
        (both_match, ROUTING_RULE_MATCHED),
        (disabled, ROUTING_RULE_DISABLED),
        (other_event_type, ROUTING_RULE_EVENT_TYPE),
        (other_channel, ROUTING_RULE_CHANNEL),
        (later, ROUTING_RULE_CREATED_LATER),
    ]
    assert explanations == await explained(octohooks, message.id)
    deliveries = [one.delivery for one in explanations if one.HasField("delivery")]
    assert deliveries == [
        await octohooks.delivery.get(message=message.id, endpoint=id)
        for id in (matched, both_match)
    ]


async def test_an_endpoint_with_channels_does_not_get_a_message_without(
    octohooks: AsyncOctohooks,
) -> None:
    await endpoint(octohooks, channels=["a"])
    message = await octohooks.message.create("acme", event_type="e", payload={})

    (explanation,) = await explained(octohooks, message.id)

    assert explanation.rule == ROUTING_RULE_CHANNEL


async def test_the_rule_is_the_one_that_was_in_force_when_the_message_was_accepted(
    octohooks: AsyncOctohooks,
) -> None:
    """What endpoints become afterwards changes nothing about where the message went."""
    wanted = await endpoint(octohooks)
    refused = await endpoint(octohooks, event_types=["other"])
    disabled = await endpoint(octohooks, disabled=True)
    message = await octohooks.message.create("acme", event_type="e", payload={})

    await octohooks.endpoint.update("acme", wanted, event_types=["other"])
    await octohooks.endpoint.update("acme", wanted, disabled=True)
    await octohooks.endpoint.update("acme", refused, event_types=[])
    await octohooks.endpoint.update("acme", disabled, disabled=False)

    assert {one.endpoint: one.rule for one in await explained(octohooks, message.id)} == {
        wanted: ROUTING_RULE_MATCHED,
        refused: ROUTING_RULE_EVENT_TYPE,
        disabled: ROUTING_RULE_DISABLED,
    }


async def test_a_deleted_endpoint_is_remembered_by_its_delivery(
    octohooks: AsyncOctohooks,
) -> None:
    wanted = await endpoint(octohooks)
    refused = await endpoint(octohooks, event_types=["other"])
    message = await octohooks.message.create("acme", event_type="e", payload={})

    await octohooks.endpoint.delete("acme", wanted)
    await octohooks.endpoint.delete("acme", refused)

    (explanation,) = await explained(octohooks, message.id)
    assert (explanation.endpoint, explanation.rule) == (wanted, ROUTING_RULE_MATCHED)
    assert explanation.HasField("delivery")


async def test_an_example_was_made_for_one_endpoint_alone(octohooks: AsyncOctohooks) -> None:
    addressed = await endpoint(octohooks, event_types=["other"])
    other = await endpoint(octohooks)
    await octohooks.event_type.create("e", examples=[{}])

    message = await octohooks.endpoint.send_example("acme", addressed, event_type="e")

    assert [(one.endpoint, one.rule) for one in await explained(octohooks, message.id)] == [
        (addressed, ROUTING_RULE_ADDRESSED),
        (other, ROUTING_RULE_ADDRESSED_ELSEWHERE),
    ]


async def test_a_replay_delivers_what_the_rule_had_refused(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    message = await octohooks.message.create("acme", event_type="e", payload={})
    new = await octohooks.endpoint.create("acme", url=receiver.url)

    await octohooks.endpoint.replay("acme", new.id, since=message.create_time)
    await ended(octohooks, 1)

    (explanation,) = await explained(octohooks, message.id)
    assert explanation.rule == ROUTING_RULE_CREATED_LATER
    assert explanation.delivery == await octohooks.delivery.get(message=message.id, endpoint=new.id)


async def test_explanations_come_page_by_page(api: Api, octohooks: AsyncOctohooks) -> None:
    endpoints = [await endpoint(octohooks) for _ in range(3)]
    await octohooks.message.create("acme", event_type="e", payload={}, uid="m")

    async def page(size: int, token: str = "") -> Any:
        return await api(
            ExplainMessageRequest(application="acme", message="m", page_size=size, page_token=token)
        )

    first = await page(2)
    second = await page(2, first.next_page_token)

    found = [[one.endpoint for one in answer.explanations] for answer in (first, second)]
    assert found == [endpoints[:2], endpoints[2:]]
    assert not second.next_page_token


@pytest.mark.parametrize(
    ("values", "code", "about"),
    [
        pytest.param({"application": ""}, "INVALID_ARGUMENT", ["application"], id="none"),
        pytest.param({"message": ""}, "INVALID_ARGUMENT", ["message"], id="no message"),
        pytest.param({"page_size": -1}, "INVALID_ARGUMENT", ["page_size"], id="page size"),
        pytest.param(
            {"application": "nobody"}, "NOT_FOUND", ("application", "nobody"), id="nobody"
        ),
        pytest.param({"message": "none"}, "NOT_FOUND", ("message", "none"), id="unknown UID"),
        pytest.param({"message": NEVER}, "NOT_FOUND", ("message", NEVER), id="unknown ID"),
    ],
)
async def test_an_explanation_is_refused(
    api: Api, octohooks: AsyncOctohooks, values: dict[str, Any], code: str, about: Any
) -> None:
    await octohooks.message.create("acme", event_type="e", payload={}, uid="m")
    request = ExplainMessageRequest(**{"application": "acme", "message": "m", **values})

    refusal = await api.refusal(request)

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about


async def test_an_endpoint_that_is_gone_says_so_in_its_delivery(
    octohooks: AsyncOctohooks,
) -> None:
    gone = await endpoint(octohooks)
    message = await octohooks.message.create("acme", event_type="e", payload={})
    await octohooks.endpoint.update("acme", gone, disabled=True)

    async def cancelled() -> bool:
        (explanation,) = await explained(octohooks, message.id)
        return bool(explanation.delivery.cancel_reason)

    await eventually(cancelled)
