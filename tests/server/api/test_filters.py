"""Filters of lists find just what a plain filter over all that there is finds."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCEEDED, Attempt
from octohooks.v1.attempt_service_pb2 import ListAttemptsRequest, ListDeliveriesRequest
from octohooks.v1.delivery_pb2 import (
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
    Delivery,
)
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import ListMessagesRequest

from tests.receivers import Connection, Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.serving import Server, Tenant
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVENT_TYPES = ["a", "b", "a.b", "A"]
CHANNELS = ["x", "X", "x:y", "xy", "y"]
# With all that JSON and SQL give a meaning to.
TEXTS = ["", "k", "v", 'k":"v', 'x"k', "\\", '\\"', ",", ":", '","', "%", "_", "V", "ü", "'", "\0"]

chosen_event_types = st.lists(st.sampled_from(EVENT_TYPES), max_size=2)
chosen_channels = st.lists(st.sampled_from(CHANNELS), max_size=2)
chosen_tags = st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=3)
new_messages = st.lists(
    st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(EVENT_TYPES),
            "channels": chosen_channels,
            "tags": chosen_tags,
        }
    ),
    min_size=1,
    max_size=8,
)


def is_wanted(message: Message, request: Any) -> bool:
    """What the contract says of the filters that are about messages, but for their times."""
    return (
        (not request.event_types or message.event_type in request.event_types)
        and (not request.channels or any(one in message.channels for one in request.channels))
        and all(message.tags.get(key) == value for key, value in request.tags.items())
    )


def is_within(time: Timestamp, request: Any) -> bool:
    """Whether a time lies in the range: its beginning belongs to it, its end does not."""
    return (
        not request.HasField("after") or time.ToNanoseconds() >= request.after.ToNanoseconds()
    ) and (not request.HasField("before") or time.ToNanoseconds() < request.before.ToNanoseconds())


async def listed(api: Api, request: Any) -> list[Any]:
    """All that a list holds, page by page."""
    found: list[Any] = []
    while True:
        page = await api(request)
        ((_, items),) = [it for it in page.ListFields() if it[0].name != "next_page_token"] or [
            (None, [])
        ]
        found += items
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@given(
    messages=new_messages,
    filters=st.lists(
        st.fixed_dictionaries(
            {"event_types": chosen_event_types, "channels": chosen_channels, "tags": chosen_tags}
        ),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=30)
async def test_messages_are_found_by_event_type_channels_and_tags(
    shared_tenant: Tenant, messages: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> None:
    octohooks, api = shared_tenant.octohooks, shared_tenant.api
    application = (await octohooks.application.create()).id
    batch: Any = [{"application": application, "payload": "{}", **one} for one in messages]
    made: list[Any] = await octohooks.message.create_batch(batch)

    # Beside filters that may find nothing, those by which each message is found.
    for one in [*filters, *({"tags": dict(message.tags)} for message in made)]:
        request = ListMessagesRequest(application=application, **one)
        assert await listed(api, request) == [
            message for message in made[::-1] if is_wanted(message, request)
        ]


@dataclass(frozen=True)
class World:
    """An environment in which deliveries stand in every way, and all that it holds."""

    api: Api
    # IDs and UIDs, some of which belong together.
    references: dict[str, list[str]]
    # What each ID and UID is, as an ID.
    ids: dict[str, str]
    messages: dict[str, Message]
    deliveries: list[Delivery]
    attempts: list[Attempt]
    times: list[Timestamp]


async def _as_the_payload_says(connection: Connection) -> None:
    assert connection.request is not None
    await respond(int(connection.request.body))(connection)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(server: Server) -> World:
    tenant = await server.new_tenant()
    octohooks, api = tenant.octohooks, tenant.api
    references: dict[str, list[str]] = {"application": [], "endpoint": [], "message": []}
    ids: dict[str, str] = {}
    messages: dict[str, Message] = {}

    def known(kind: str, entity: Any) -> None:
        references[kind] += [entity.id, entity.uid]
        ids.update({entity.id: entity.id, entity.uid: entity.id})

    async with Receiver(_as_the_payload_says) as receiver:
        for name in ("one", "two"):
            known("application", await octohooks.application.create(uid=name))
            for uid, schedule in (("answers", [0]), ("waits", [3600]), ("ends", [3600])):
                known(
                    "endpoint",
                    await octohooks.endpoint.create(
                        name, url=receiver.url, uid=f"{uid}-{name}", retry_schedule=schedule
                    ),
                )
        facts = itertools.product(EVENT_TYPES, [[], ["x", "y"], ["X"]], [{}, {"k": "v", ",": ":"}])
        for number, (event_type, channels, tags) in enumerate(facts):
            message = await octohooks.message.create(
                "two" if number % 3 == 0 else "one",
                event_type=event_type,
                payload="500" if number % 4 == 0 else "200",
                channels=channels,
                tags=tags,
                uid=f"m{number}",
            )
            known("message", message)
            messages[message.id] = message
        for name in ("one", "two"):
            await octohooks.endpoint.update(name, f"ends-{name}", disabled=True)

        async def settled() -> bool:
            statuses = [one.status async for one in octohooks.delivery.list(page_size=250)]
            return statuses.count(DELIVERY_STATUS_PENDING) == len(messages)

        await eventually(settled)

    deliveries = await listed(api, ListDeliveriesRequest())
    attempts = await listed(api, ListAttemptsRequest())
    assert {one.status for one in deliveries} == {
        DELIVERY_STATUS_CANCELLED,
        DELIVERY_STATUS_FAILED,
        DELIVERY_STATUS_PENDING,
        DELIVERY_STATUS_SUCCEEDED,
    }
    assert len(deliveries) == 3 * len(attempts) == 3 * len(messages)
    times = [one.create_time for one in messages.values()]
    times += [one.start_time for one in attempts]
    return World(api, references, ids, messages, deliveries, attempts, times)


def _chosen(data: st.DataObject, world: World, *more: str) -> dict[str, Any]:
    """Filters that a caller could ask for; the range is not empty."""
    chosen: dict[str, Any] = {
        "event_types": data.draw(chosen_event_types),
        "channels": data.draw(chosen_channels),
        "tags": data.draw(st.sampled_from([{}, {}, {"k": "v"}, {"k": "v", ",": ":"}, {"k": ","}])),
        "page_size": data.draw(st.sampled_from([0, 7, 250])),
    }
    limits = data.draw(st.lists(st.sampled_from(world.times), max_size=2))
    limits = sorted(limits, key=lambda time: time.ToNanoseconds())
    if len(limits) == 2 and limits[0] != limits[1]:
        chosen |= {"after": limits[0], "before": limits[1]}
    elif limits:
        chosen |= {data.draw(st.sampled_from(["after", "before"])): limits[0]}
    for kind in more:
        chosen |= {kind: data.draw(st.sampled_from(["", "", *world.references[kind]]))}
    return chosen


@given(data=st.data())
@settings(max_examples=40)
async def test_messages_are_found_by_all_filters_together(
    world: World, data: st.DataObject
) -> None:
    application = data.draw(st.sampled_from(["one", "two"]))
    request = ListMessagesRequest(application=application, **_chosen(data, world))

    wanted = [
        message
        for message in reversed(world.messages.values())
        if message.application == world.ids[application]
        and is_wanted(message, request)
        and is_within(message.create_time, request)
    ]
    assert await listed(world.api, request) == wanted


def _is_in_scope(one: Any, request: Any, world: World) -> bool:
    return all(
        not getattr(request, kind) or getattr(one, kind) == world.ids[getattr(request, kind)]
        for kind in ("application", "endpoint", "message")
    )


def _is_answerable(request: Any, world: World) -> bool:
    """Whether what the request names belongs together; else it is refused, which others test."""
    if not request.application:
        return all(
            not reference or reference == world.ids[reference]
            for reference in (request.endpoint, request.message)
        )
    application = world.ids[request.application]
    of_message = {one.id: one.application for one in world.messages.values()}
    of_endpoint = {one.endpoint: one.application for one in world.deliveries}
    return all(
        not reference or owners[world.ids[reference]] == application
        for reference, owners in (
            (request.message, of_message),
            (request.endpoint, of_endpoint),
        )
    )


@given(data=st.data())
@settings(
    max_examples=40,
    suppress_health_check=[
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
async def test_deliveries_are_found_by_all_filters_together(
    world: World, data: st.DataObject
) -> None:
    chosen = _chosen(data, world, "application", "endpoint", "message")
    statuses: Any = data.draw(st.lists(st.sampled_from([1, 2, 3, 4]), max_size=2))
    request = ListDeliveriesRequest(statuses=statuses, **chosen)
    assume(_is_answerable(request, world))

    wanted = [
        delivery
        for delivery in world.deliveries
        if (not statuses or delivery.status in statuses)
        and _is_in_scope(delivery, request, world)
        and is_wanted(world.messages[delivery.message], request)
        and is_within(world.messages[delivery.message].create_time, request)
    ]
    assert await listed(world.api, request) == wanted


@given(data=st.data())
@settings(
    max_examples=40,
    suppress_health_check=[
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
async def test_attempts_are_found_by_all_filters_together(
    world: World, data: st.DataObject
) -> None:
    chosen = _chosen(data, world, "application", "endpoint", "message")
    outcomes = data.draw(
        st.lists(st.sampled_from([ATTEMPT_OUTCOME_SUCCEEDED, ATTEMPT_OUTCOME_FAILED]), max_size=2)
    )
    request = ListAttemptsRequest(outcomes=outcomes, **chosen)
    assume(_is_answerable(request, world))

    wanted = [
        attempt
        for attempt in world.attempts
        if (not outcomes or attempt.outcome in outcomes)
        and _is_in_scope(attempt, request, world)
        and is_wanted(world.messages[attempt.message], request)
        and is_within(attempt.start_time, request)
    ]
    assert await listed(world.api, request) == wanted


async def test_a_range_takes_its_beginning_and_not_its_end(world: World) -> None:
    """Messages and deliveries are found by the acceptance, attempts by their start."""
    accepted = {one.id: one.create_time for one in world.messages.values()}
    times_of: list[tuple[Any, list[Any], Callable[[Any], Timestamp]]] = [
        (
            ListMessagesRequest(application="one"),
            [one for one in world.messages.values() if one.application == world.ids["one"]][::-1],
            lambda message: accepted[message.id],
        ),
        (ListDeliveriesRequest(), world.deliveries, lambda one: accepted[one.message]),
        (ListAttemptsRequest(), world.attempts, lambda attempt: attempt.start_time),
    ]
    for request, there, time_of in times_of:
        limit = time_of(there[len(there) // 2])
        for side in ("after", "before"):
            getattr(request, side).CopyFrom(limit)
            request.page_token = ""
            assert await listed(world.api, request) == [
                one for one in there if is_within(time_of(one), request)
            ]
            request.ClearField(side)
