"""The pages about delivery and about operational webhooks, held against real requests."""

import json
from typing import Any

from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING
from octohooks_server.rules.schedule import DEFAULT_SCHEDULE
from octohooks_server.store.operational import EVENT_TYPES

from tests.docs.conftest import Place
from tests.docs.markdown import ROOT, blocks, rows
from tests.receivers import Receiver, Request, respond

DELIVERY = ROOT / "docs/delivery.md"
OPERATIONAL_WEBHOOKS = ROOT / "docs/operational-webhooks.md"


async def test_a_request_has_the_headers_and_the_body_that_are_shown(
    place: Place, receiver: Receiver
) -> None:
    shown_head, _, shown_body = next(blocks(DELIVERY)).code.rstrip().partition("\n\n")
    async with AsyncOctohooks(place.api_key, target=place.target) as client:
        await client.application.update("some-user")
        await client.endpoint.create(
            "some-user", url=receiver.url, headers={"x-your-own": "header"}
        )
        await client.message.create("some-user", event_type="invoice.paid", payload=shown_body)
        request = await receiver.next_request()
    shown_line, *shown_headers = shown_head.split("\n")
    assert request.line.split()[0::2] == shown_line.split()[0::2]
    assert [name.lower() for name, _ in request.headers] == [
        header.partition(":")[0] for header in shown_headers
    ]
    same = ("content-type", "user-agent", "accept", "accept-encoding", "content-length")
    for header in shown_headers:
        name, _, value = header.partition(": ")
        if name in same:
            assert request.header(name) == value
    assert request.body.decode() == shown_body


def test_the_table_of_error_kinds_has_every_kind() -> None:
    names = ErrorKind.DESCRIPTOR.values_by_name
    kinds = {name.removeprefix("ERROR_KIND_").lower() for name in names}
    listed = {row[0].strip("`") for row in rows(DELIVERY) if row[0].strip("`") in kinds}
    assert listed == kinds - {"unspecified"}


def test_the_table_of_retries_is_the_schedule() -> None:
    units = {"seconds": 1, "minutes": 60, "hours": 3600}
    waits = [row[1].split() for row in rows(DELIVERY) if row[0].isdecimal()]
    shown = [0 if words == ["none"] else int(words[0]) * units[words[1]] for words in waits]
    assert shown == [step.total_seconds() for step in DEFAULT_SCHEDULE]


async def test_operational_webhooks_have_the_payloads_that_are_shown(place: Place) -> None:
    shown = [
        json.loads(block.code) for block in blocks(OPERATIONAL_WEBHOOKS) if block.language == "json"
    ]
    assert sorted(one["type"] for one in shown) == sorted(EVENT_TYPES)
    script = [respond(500)] * 4 + [respond(200)] + [respond(500)] * 8 + [respond(410)]
    async with (
        Receiver(*script) as customer,
        Receiver() as owner,
        AsyncOctohooks(place.api_key, target=place.target) as client,
    ):
        await client.operational_webhook.create(url=owner.url)
        await client.application.update("some-user")
        endpoint = await client.endpoint.create(
            "some-user", uid="main", url=customer.url, retry_schedule=[0] * 8
        )
        await client.endpoint.update("some-user", "main", disabled=True)
        await client.endpoint.update("some-user", "main", disabled=False)
        for _ in range(3):
            async with client.attempt.watch(application="some-user") as watch:
                await watch.wait_until_live()
                await client.message.create("some-user", event_type="invoice.paid", payload={})
                async for event in watch:
                    if event.attempt.delivery_status != DELIVERY_STATUS_PENDING:
                        break
        await client.endpoint.delete("some-user", endpoint.id)
        # Made; disabled and enabled, each with an update; failing twice, recovered, exhausted and
        # gone; deleted.
        sent = [_notification(await owner.next_request()) for _ in range(1 + 4 + 5 + 1)]
    shapes = [(one["type"], _shape(one)) for one in sent]
    for one in shown:
        assert (one["type"], _shape(one)) in shapes, (one, sent)


def _notification(request: Request) -> Any:
    return json.loads(request.body)


def _shape(value: Any) -> Any:
    """The names and types, and the numbers themselves, in a payload."""
    if isinstance(value, dict):
        return [(name, _shape(inner)) for name, inner in value.items()]
    return value if isinstance(value, int) else type(value)
