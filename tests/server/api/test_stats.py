"""GetEndpointStats: what happened at an endpoint in a time range, in numbers."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import AsyncOctohooks
from octohooks.v1.endpoint_service_pb2 import GetEndpointStatsRequest, GetEndpointStatsResponse

from tests.receivers import Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.server.api.serving import Clock, serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"


def without_latency(stats: GetEndpointStatsResponse) -> GetEndpointStatsResponse:
    counts = GetEndpointStatsResponse()
    counts.CopyFrom(stats)
    counts.ClearField("latency")
    return counts


def nearest_rank(percent: int, sorted_values: Sequence[int]) -> int:
    return sorted_values[math.ceil(len(sorted_values) * percent / 100) - 1]


async def send(octohooks: AsyncOctohooks, count: int = 1) -> None:
    for _ in range(count):
        await octohooks.message.create("acme", event_type="e", payload={})


async def test_an_endpoint_at_which_nothing_happened_has_no_latency(
    octohooks: AsyncOctohooks,
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")

    stats = await octohooks.endpoint.stats("acme", "main")

    assert stats == GetEndpointStatsResponse()
    assert not stats.HasField("latency")


async def test_deliveries_are_counted_by_status_and_attempts_by_outcome(
    octohooks: AsyncOctohooks,
) -> None:
    answers = [respond(200), respond(200), respond(200), respond(500), respond(500), respond(200)]
    async with Receiver(*answers) as receiver:
        main = await octohooks.endpoint.create(
            "acme", url=receiver.url, uid="main", retry_schedule=[0, 0]
        )
        await octohooks.endpoint.create("acme", url=URL, retry_schedule=[3600])
        await send(octohooks, 3)
        await ended(octohooks, 3, endpoint=main.id)
        await send(octohooks)
        await ended(octohooks, 4, endpoint=main.id)

    assert without_latency(
        await octohooks.endpoint.stats("acme", "main")
    ) == GetEndpointStatsResponse(
        succeeded_deliveries=3, failed_deliveries=1, succeeded_attempts=3, failed_attempts=2
    )


async def test_what_waits_is_pending_and_then_cancelled(octohooks: AsyncOctohooks) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main", retry_schedule=[3600])
    await send(octohooks, 2)
    stats = await octohooks.endpoint.stats("acme", "main")
    assert stats == GetEndpointStatsResponse(pending_deliveries=2)

    await octohooks.endpoint.update("acme", "main", disabled=True)

    stats = await octohooks.endpoint.stats("acme", "main")
    assert stats == GetEndpointStatsResponse(cancelled_deliveries=2)


async def test_the_latency_sums_up_the_attempts(octohooks: AsyncOctohooks) -> None:
    async with Receiver(respond(200), respond(500), respond(200)) as receiver:
        await octohooks.endpoint.create("acme", url=receiver.url, uid="main", retry_schedule=[0])
        await send(octohooks, 30)
        attempts = await attempted(octohooks, 30)

    latency = (await octohooks.endpoint.stats("acme", "main")).latency

    took = sorted(attempt.duration.ToMicroseconds() for attempt in attempts)
    assert latency.min.ToMicroseconds() == took[0]
    assert latency.max.ToMicroseconds() == took[-1]
    assert latency.p50.ToMicroseconds() == nearest_rank(50, took)
    assert latency.p95.ToMicroseconds() == nearest_rank(95, took)
    assert latency.p99.ToMicroseconds() == nearest_rank(99, took)
    assert latency.mean.ToMicroseconds() == pytest.approx(sum(took) / 30, abs=1)


async def test_one_attempt_is_its_own_summary(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
    await send(octohooks)
    (attempt,) = await attempted(octohooks, 1)

    latency = (await octohooks.endpoint.stats("acme", "main")).latency

    fields: list[Duration] = [value for _, value in latency.ListFields()]
    assert fields == [attempt.duration] * 6


async def test_a_range_takes_its_beginning_and_not_its_end(home: Home) -> None:
    clock = Clock()
    async with serving(home, clock=clock) as server, Receiver(respond(200)) as receiver:
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
        times = []
        for number in range(3):
            clock.advance(hours=1)
            message = await octohooks.message.create("acme", event_type="e", payload={})
            times.append(message.create_time)
            await ended(octohooks, number + 1)
        attempts = (await attempted(octohooks, 3))[::-1]

        async def deliveries(**range_: Timestamp) -> int:
            return (await octohooks.endpoint.stats("acme", "main", **range_)).succeeded_deliveries

        async def attempts_counted(**range_: Timestamp) -> int:
            return (await octohooks.endpoint.stats("acme", "main", **range_)).succeeded_attempts

        assert await deliveries() == 3
        assert await deliveries(after=times[1]) == 2
        assert await deliveries(before=times[1]) == 1
        assert await deliveries(after=times[0], before=times[2]) == 2
        assert await attempts_counted(after=attempts[1].start_time) == 2
        assert await attempts_counted(before=attempts[1].start_time) == 1


async def test_the_range_is_the_last_24_hours_unless_told(home: Home) -> None:
    clock = Clock()
    async with serving(home, clock=clock) as server, Receiver(respond(200)) as receiver:
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
        sent = await octohooks.message.create("acme", event_type="e", payload={})
        await ended(octohooks, 1)

        clock.advance(hours=23.9)
        assert (await octohooks.endpoint.stats("acme", "main")).succeeded_deliveries == 1
        clock.advance(hours=0.2)
        stats = await octohooks.endpoint.stats("acme", "main")
        assert stats == GetEndpointStatsResponse()
        stats = await octohooks.endpoint.stats("acme", "main", after=sent.create_time)
        assert stats.succeeded_deliveries == 1


def time(**ago: float) -> Timestamp:
    value = Timestamp()
    value.FromDatetime(datetime.now(UTC) - timedelta(**ago))
    return value


@pytest.mark.parametrize(
    ("values", "code", "about"),
    [
        pytest.param({"application": ""}, "INVALID_ARGUMENT", ["application"], id="none"),
        pytest.param({"endpoint": ""}, "INVALID_ARGUMENT", ["endpoint"], id="no endpoint"),
        pytest.param(
            {"after": time(hours=1), "before": time(hours=2)},
            "INVALID_ARGUMENT",
            ["before"],
            id="a range that ends before it begins",
        ),
        pytest.param(
            {"after": Timestamp(seconds=9), "before": Timestamp(seconds=9)},
            "INVALID_ARGUMENT",
            ["before"],
            id="an empty range",
        ),
        pytest.param(
            {"before": time(hours=25)}, "INVALID_ARGUMENT", ["before"], id="an end 25 hours ago"
        ),
        pytest.param(
            {"after": time(hours=-1)}, "INVALID_ARGUMENT", ["before"], id="a future beginning"
        ),
        pytest.param(
            {"after": Timestamp(seconds=10**12)}, "INVALID_ARGUMENT", ["after"], id="no such time"
        ),
        pytest.param({"application": "n"}, "NOT_FOUND", ("application", "n"), id="unknown one"),
        pytest.param({"endpoint": "n"}, "NOT_FOUND", ("endpoint", "n"), id="unknown UID"),
        pytest.param({"endpoint": NEVER}, "NOT_FOUND", ("endpoint", NEVER), id="unknown ID"),
    ],
)
async def test_statistics_are_refused(
    api: Api, octohooks: AsyncOctohooks, values: dict[str, Any], code: str, about: Any
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    request = GetEndpointStatsRequest(**{"application": "acme", "endpoint": "main", **values})

    refusal = await api.refusal(request)

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about
