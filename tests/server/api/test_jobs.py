"""RecoverEndpoint, ReplayEndpoint and GetJob: durable work on many messages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.attempt_pb2 import ATTEMPT_TRIGGER_SCHEDULED
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_service_pb2 import RecoverEndpointRequest, ReplayEndpointRequest
from octohooks.v1.job_pb2 import (
    JOB_KIND_RECOVER,
    JOB_KIND_REPLAY,
    JOB_STATE_CANCELLED,
    JOB_STATE_FINISHED,
    JOB_STATE_RUNNING,
    Job,
)
from octohooks.v1.job_service_pb2 import GetJobRequest
from octohooks.v1.message_pb2 import Message
from octohooks_server.background import steps, upkeep
from octohooks_server.rules.ids import is_id

from tests.receivers import Connection, Receiver, respond
from tests.server.api.calls import Api, Refused
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.server.api.serving import Clock, Server, Tenant, serving
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

# Where nobody listens.
URL = "http://127.0.0.1:9/"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_JOB = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV"
LONG_AGO = datetime.now(UTC) - timedelta(days=1)


class Switch:
    """A receiver's script that fails until it is turned on."""

    def __init__(self) -> None:
        self.is_on = False

    async def __call__(self, connection: Connection) -> None:
        await respond(200 if self.is_on else 500)(connection)


async def send(octohooks: AsyncOctohooks, count: int, **values: Any) -> list[Message]:
    """Messages, oldest first."""
    new = {"application": "acme", "event_type": "e", "payload": "{}", **values}
    made = await octohooks.message.create_batch([new] * count)  # type: ignore[list-item]
    return [message for message in made if isinstance(message, Message)]


async def over(octohooks: AsyncOctohooks, job: Job) -> Job:
    """The job once it has ended."""

    async def look() -> Job | None:
        seen = await octohooks.job.get(job.id)
        return seen if seen.state != JOB_STATE_RUNNING else None

    seen = await eventually(look)
    assert seen is not None
    return seen


async def has_begun(octohooks: AsyncOctohooks, job: Job) -> None:
    """Returns once the job has looked at its first messages."""

    async def examined() -> int:
        return (await octohooks.job.get(job.id)).examined_count

    await eventually(examined)


def ids(messages: list[Message]) -> set[str]:
    return {message.id for message in messages}


def arrived(receiver: Receiver) -> list[str]:
    """The messages that a receiver got, sorted, with repeats."""
    return sorted(request.header("webhook-id") for request in receiver.requests)


async def test_recovery_sends_what_failed_again_and_leaves_the_rest_alone(
    api: Api, octohooks: AsyncOctohooks, acme: Application
) -> None:
    switch = Switch()
    async with Receiver(switch) as receiver:
        main = await octohooks.endpoint.create(
            "acme", url=receiver.url, uid="main", retry_schedule=[0]
        )
        failed = await send(octohooks, 3)
        await ended(octohooks, 3)
        switch.is_on = True
        succeeded = await send(octohooks, 2)
        await ended(octohooks, 5)
        since = Timestamp()
        since.FromDatetime(LONG_AGO)

        request = RecoverEndpointRequest(application="acme", endpoint="main", since=since)
        begun = (await api(request)).job

        assert is_id(begun.id, "job_")
        assert begun == Job(
            id=begun.id,
            kind=JOB_KIND_RECOVER,
            application=acme.id,
            endpoint=main.id,
            state=JOB_STATE_RUNNING,
            since=since,
            until=begun.create_time,
            create_time=begun.create_time,
        )
        job = await over(octohooks, begun)
        deliveries = await ended(octohooks, 5)

    assert job.state == JOB_STATE_FINISHED
    assert (job.examined_count, job.scheduled_count, job.payload_deleted_count) == (3, 3, 0)
    assert job.finish_time.ToNanoseconds() > job.create_time.ToNanoseconds()
    assert {one.status for one in deliveries} == {DELIVERY_STATUS_SUCCEEDED}
    assert arrived(receiver) == sorted([*ids(failed), *ids(failed), *ids(succeeded)])


async def test_a_recovered_delivery_begins_its_schedule_again_and_counts_on(
    octohooks: AsyncOctohooks,
) -> None:
    async with Receiver(respond(500)) as receiver:
        main = await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[0, 0])
        await send(octohooks, 1)
        (delivery,) = await ended(octohooks, 1)
        assert delivery.attempt_count == 2

        await over(octohooks, await octohooks.endpoint.recover("acme", main.id, since=LONG_AGO))

        async def exhausted_again() -> bool:
            (delivery,) = await ended(octohooks, 1)
            return delivery.attempt_count == 4 and delivery.status == DELIVERY_STATUS_FAILED

        await eventually(exhausted_again)
        attempts = await attempted(octohooks, 4)
        assert [attempt.number for attempt in attempts] == [4, 3, 2, 1]
        assert {attempt.trigger for attempt in attempts} == {ATTEMPT_TRIGGER_SCHEDULED}


async def test_a_job_takes_messages_from_since_until_before_until(
    octohooks: AsyncOctohooks,
) -> None:
    main = await octohooks.endpoint.create("acme", url=URL, disabled=True)
    before, first, last, after = [(await send(octohooks, 1))[0] for _ in range(4)]
    await octohooks.endpoint.update("acme", main.id, disabled=False, retry_schedule=[3600])

    job = await over(
        octohooks,
        await octohooks.endpoint.replay(
            "acme", main.id, since=first.create_time, until=after.create_time
        ),
    )

    assert (job.since, job.until) == (first.create_time, after.create_time)
    assert (job.examined_count, job.scheduled_count) == (2, 2)
    delivered = {one.message async for one in octohooks.delivery.list()}
    assert delivered == ids([first, last])
    assert before.id not in delivered


async def test_replay_sends_what_the_endpoint_wants_and_never_got(
    octohooks: AsyncOctohooks, acme: Application, receiver: Receiver
) -> None:
    old = await send(octohooks, 2)
    of_other_type = await send(octohooks, 1, event_type="other")
    without_payload = await send(octohooks, 1)
    await octohooks.message.delete_payload("acme", without_payload[0].id)
    new = await octohooks.endpoint.create("acme", url=receiver.url, event_types=["e"])
    got = await send(octohooks, 1)
    await ended(octohooks, 1)

    begun = await octohooks.endpoint.replay("acme", new.id, since=LONG_AGO)
    job = await over(octohooks, begun)
    deliveries = await ended(octohooks, 3)

    assert begun.kind == JOB_KIND_REPLAY
    assert (begun.application, begun.endpoint) == (acme.id, new.id)
    assert job.state == JOB_STATE_FINISHED
    assert (job.examined_count, job.scheduled_count, job.payload_deleted_count) == (5, 2, 1)
    assert {one.message for one in deliveries} == ids([*old, *got])
    assert arrived(receiver) == sorted(ids([*old, *got]))
    assert of_other_type[0].id not in arrived(receiver)


async def test_replay_brings_back_what_was_cancelled(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    main = await octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[3600])
    (message,) = await send(octohooks, 1)
    await octohooks.endpoint.update("acme", main.id, disabled=True)
    (delivery,) = await ended(octohooks, 1)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    await octohooks.endpoint.update("acme", main.id, disabled=False)

    await octohooks.endpoint.replay("acme", main.id, since=LONG_AGO)

    assert (await receiver.next_request()).header("webhook-id") == message.id

    async def succeeded() -> bool:
        (delivery,) = await ended(octohooks, 1)
        return delivery.status == DELIVERY_STATUS_SUCCEEDED and not delivery.cancel_reason

    await eventually(succeeded)


async def test_replay_leaves_examples_for_others_where_they_are(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.event_type.create("e", examples=[{}])
    addressed = await octohooks.endpoint.create("acme", url=receiver.url)
    await octohooks.endpoint.send_example("acme", addressed.id, event_type="e")
    other = await octohooks.endpoint.create("acme", url=receiver.url)

    job = await over(octohooks, await octohooks.endpoint.replay("acme", other.id, since=LONG_AGO))

    assert (job.examined_count, job.scheduled_count) == (1, 0)


async def test_replaying_twice_sends_once(octohooks: AsyncOctohooks, receiver: Receiver) -> None:
    await send(octohooks, 3)
    new = await octohooks.endpoint.create("acme", url=receiver.url)

    jobs = [await octohooks.endpoint.replay("acme", new.id, since=LONG_AGO) for _ in range(2)]
    counts = [(await over(octohooks, job)).scheduled_count for job in jobs]
    await ended(octohooks, 3)

    assert sorted(counts) == [0, 3]
    assert len(receiver.requests) == 3


async def _comes_back(server: Server, before: Tenant) -> AsyncOctohooks:
    """The environment after another start of the server."""
    return (await server.tenant(before.id, before.key)).octohooks


@pytest.mark.parametrize("kind", ["recover", "replay"])
async def test_a_job_goes_on_where_it_was_after_a_stop_and_a_start(
    home: Home, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(steps, "_LOOKED_AT_BY_A_JOB", 5)
    # Long enough for a busy machine to stop it in the middle.
    monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_STEPS", 0.5)
    count = 40
    switch = Switch()
    async with Receiver(switch) as receiver:
        async with serving(home) as server:
            tenant = await server.new_tenant()
            octohooks = tenant.octohooks
            await octohooks.application.create(uid="acme")
            if kind == "recover":
                await octohooks.endpoint.create(
                    "acme", url=receiver.url, uid="main", retry_schedule=[0]
                )
            messages = await send(octohooks, count)
            if kind == "recover":
                await ended(octohooks, count)
                receiver.requests.clear()
            else:
                await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
            switch.is_on = True
            begin = getattr(octohooks.endpoint, kind)
            job = await begin("acme", "main", since=LONG_AGO)

            await has_begun(octohooks, job)

        async with serving(home) as server:
            octohooks = await _comes_back(server, tenant)
            again = await octohooks.job.get(job.id)
            assert 0 < again.examined_count < count, "it was in the middle when the server stopped"
            assert again.state == JOB_STATE_RUNNING
            monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_STEPS", 0.0)

            finished = await over(octohooks, job)
            deliveries = await ended(octohooks, count)

    assert finished.state == JOB_STATE_FINISHED
    assert (finished.examined_count, finished.scheduled_count) == (count, count)
    assert {one.status for one in deliveries} == {DELIVERY_STATUS_SUCCEEDED}
    assert arrived(receiver) == sorted(ids(messages))


@pytest.mark.parametrize("end", ["disabled", "deleted"])
async def test_a_job_is_cancelled_when_its_endpoint_goes(
    home: Home, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(steps, "_LOOKED_AT_BY_A_JOB", 1)
    # Long enough for a busy machine to end the endpoint in the middle.
    monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_STEPS", 0.2)
    async with serving(home) as server, Receiver(respond(500)) as receiver:
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        await send(octohooks, 50)
        await octohooks.endpoint.create(
            "acme", url=receiver.url, uid="main", retry_schedule=[0, 3600]
        )
        job = await octohooks.endpoint.replay("acme", "main", since=LONG_AGO)
        await has_begun(octohooks, job)

        if end == "disabled":
            await octohooks.endpoint.update("acme", "main", disabled=True)
        else:
            await octohooks.endpoint.delete("acme", "main")

        cancelled = await over(octohooks, job)
        assert cancelled.state == JOB_STATE_CANCELLED
        assert 0 < cancelled.examined_count == cancelled.scheduled_count < 50
        assert cancelled.HasField("finish_time")
        for delivery in await ended(octohooks, cancelled.scheduled_count):
            assert delivery.status == DELIVERY_STATUS_CANCELLED
            if end == "disabled":
                assert delivery.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED


async def test_a_finished_job_is_kept_for_30_days(home: Home) -> None:
    clock = Clock()
    jobs: list[Job] = []
    async with serving(home, clock=clock) as server:
        tenant = await server.new_tenant()
        await tenant.octohooks.application.create(uid="acme")
        await tenant.octohooks.endpoint.create("acme", url=URL, uid="main")
        for _ in range(2):
            begun = await tenant.octohooks.endpoint.replay("acme", "main", since=LONG_AGO)
            jobs.append(await over(tenant.octohooks, begun))
            clock.advance(days=1)

    clock.advance(days=28.5)
    # Each start does the upkeep that is due.
    async with serving(home, clock=clock) as server:
        api = server.api(tenant.key)

        async def is_gone() -> bool:
            try:
                await api(GetJobRequest(job=jobs[0].id))
            except Refused as error:
                return error.refusal.cause == ("NOT_FOUND", "NOT_FOUND")
            return False

        await eventually(is_gone)
        assert (await api(GetJobRequest(job=jobs[1].id))).job == jobs[1], "29.5 days are not 30"


def past(seconds: int = 0, **parts: int) -> Timestamp:
    value = Timestamp(**parts)
    value.seconds += int(LONG_AGO.timestamp()) + seconds
    return value


@pytest.mark.parametrize("request_type", [RecoverEndpointRequest, ReplayEndpointRequest])
@pytest.mark.parametrize(
    ("values", "reason", "about"),
    [
        pytest.param({"application": ""}, "INVALID_FIELD", ["application"], id="none"),
        pytest.param({"endpoint": ""}, "INVALID_FIELD", ["endpoint"], id="no endpoint"),
        pytest.param({"since": None}, "INVALID_FIELD", ["since"], id="no beginning"),
        pytest.param({"since": past(2 * 86_400)}, "INVALID_FIELD", ["since"], id="in the future"),
        pytest.param({"since": past(10**12)}, "INVALID_FIELD", ["since"], id="no such time"),
        pytest.param({"until": past()}, "INVALID_FIELD", ["until"], id="an empty range"),
        pytest.param({"until": past(-1)}, "INVALID_FIELD", ["until"], id="a range backwards"),
        pytest.param({"until": past(nanos=-1)}, "INVALID_FIELD", ["until"], id="malformed time"),
        pytest.param({"application": "n"}, "NOT_FOUND", ("application", "n"), id="unknown one"),
        pytest.param({"endpoint": "n"}, "NOT_FOUND", ("endpoint", "n"), id="unknown UID"),
        pytest.param({"endpoint": NEVER}, "NOT_FOUND", ("endpoint", NEVER), id="unknown ID"),
        pytest.param({"endpoint": "off"}, "ENDPOINT_DISABLED", None, id="a disabled endpoint"),
    ],
)
async def test_no_job_is_begun(
    api: Api,
    octohooks: AsyncOctohooks,
    request_type: Any,
    values: dict[str, Any],
    reason: str,
    about: Any,
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    await octohooks.endpoint.create("acme", url=URL, uid="off", disabled=True)
    given = {"application": "acme", "endpoint": "main", "since": past(), **values}

    refusal = await api.refusal(request_type(**given))

    assert refusal.reason == reason
    if reason == "INVALID_FIELD":
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", about)
    elif reason == "NOT_FOUND":
        assert (refusal.code, refusal.resource) == ("NOT_FOUND", about)
    else:
        assert refusal.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    ("job", "code", "about"),
    [
        pytest.param("", "INVALID_ARGUMENT", ["job"], id="none given"),
        pytest.param(NO_JOB, "NOT_FOUND", ("job", NO_JOB), id="an unknown ID"),
    ],
)
async def test_a_job_has_to_be_named_and_to_exist(
    api: Api, job: str, code: str, about: Any
) -> None:
    refusal = await api.refusal(GetJobRequest(job=job))

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about


@pytest.mark.parametrize("request_type", [RecoverEndpointRequest, ReplayEndpointRequest])
async def test_a_job_is_begun_once_under_one_idempotency_key(
    api: Api, octohooks: AsyncOctohooks, request_type: Any
) -> None:
    """The SDK repeats the call by itself when the connection breaks."""
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    request = request_type(application="acme", endpoint="main", since=past())

    first = await api(request, idempotency_key="k")
    again = await api(request, idempotency_key="k")

    assert again == first
