"""An attempt and all that follows from it are recorded together, by the newest claim alone."""

from datetime import timedelta

import pytest
from octohooks.v1.attempt_pb2 import ATTEMPT_TRIGGER_MANUAL, ATTEMPT_TRIGGER_SCHEDULED
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_APPLICATION_DELETED,
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks.v1.endpoint_pb2 import (
    DISABLE_REASON_FAILING,
    DISABLE_REASON_GONE,
    DISABLE_REASON_REQUESTED,
)
from octohooks_server.store import applications, attempts, deliveries, endpoints, retirement
from octohooks_server.store.outcomes import record_outcomes

from tests.server.store.world import LEASE, World, seconds


async def test_a_success_ends_the_delivery(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    recorded = await world.record_one(world.outcome(await world.claim_one(), 204))
    assert recorded.applied
    assert recorded.next_due_at is None
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.attempt_count == 1
    assert not delivery.HasField("next_attempt_time")
    assert delivery.end_time.ToDatetime(world.now.tzinfo) == world.now
    world.pass_time(1_000_000)
    assert not (await world.claim()).deliveries


async def test_a_failure_makes_the_delivery_due_when_its_retry_is(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    recorded = await world.record_one(world.outcome(await world.claim_one(), retry_in=5))
    assert recorded.status == DELIVERY_STATUS_PENDING
    assert recorded.next_due_at == world.now + seconds(5)
    world.pass_time(4.9)
    assert not (await world.claim()).deliveries
    world.pass_time(0.1)
    claimed = await world.claim_one()
    assert (claimed.attempt_count, claimed.scheduled_count) == (1, 1)


async def test_a_failure_without_a_retry_ends_the_delivery_as_failed(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=None))
    assert (await world.delivery(message, endpoint)).status == DELIVERY_STATUS_FAILED
    world.pass_time(1_000_000)
    assert not (await world.claim()).deliveries


async def test_an_attempt_is_kept_with_all_that_happened(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application, event_type="a.b")
    outcome = world.outcome(await world.claim_one(), 503, retry_in=9, response_body_truncated=True)
    await world.record_one(outcome)
    (event,) = await world.events()
    async with world.database.read() as conn:
        attempt = await attempts.get(
            conn, environment_id=world.environment_id, id=event.event.attempt.id
        )
    assert attempt.message == message
    assert attempt.endpoint == endpoint
    assert attempt.application == application
    assert attempt.event_type == "a.b"
    assert attempt.number == 1
    assert attempt.response_status == 503
    assert attempt.error_kind == outcome.error_kind
    assert attempt.error_detail == "It failed."
    assert attempt.response_body == b"answer"
    assert attempt.response_body_truncated
    assert [(one.name, one.value) for one in attempt.response_headers] == [("x-own", "1")]
    assert attempt.duration.ToTimedelta() == seconds(0.1)
    assert attempt.start_time.ToDatetime(world.now.tzinfo) == world.now
    assert attempt.next_attempt_time.ToDatetime(world.now.tzinfo) == world.now + seconds(9)


@pytest.mark.parametrize(("late", "newer"), [(500, 200), (200, 500)])
async def test_an_outcome_whose_claim_is_not_the_newest_changes_nothing(
    world: World, late: int, newer: int
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    old = await world.claim_one()
    world.pass_time(LEASE.total_seconds())
    new = await world.claim_one()
    # Whether it comes before the newer one's outcome or after it.
    assert not (await world.record_one(world.outcome(old, late))).applied
    assert (await world.record_one(world.outcome(new, newer))).applied
    before = await world.delivery(message, endpoint)
    assert not (await world.record_one(world.outcome(old, late))).applied
    assert await world.delivery(message, endpoint) == before
    assert [event.event.attempt.response_status for event in await world.events()] == [newer]


async def test_an_outcome_is_recorded_once(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application)
    outcome = world.outcome(await world.claim_one())
    assert (await world.record_one(outcome)).applied
    assert not (await world.record_one(outcome)).applied
    assert len(await world.events()) == 1


async def test_a_late_outcome_among_others_harms_none_of_them(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=3)
    old = (await world.claim()).deliveries
    world.pass_time(LEASE.total_seconds())
    new = {one.message_id: one for one in (await world.claim()).deliveries}
    outcomes = [
        world.outcome(new[old[0].message_id], 200),
        world.outcome(old[1], 200),
        world.outcome(new[old[2].message_id], 500),
    ]
    assert [one.applied for one in await world.record(*outcomes)] == [True, False, True]
    assert [event.sequence for event in await world.events()] == [1, 2]


async def test_an_outcome_after_the_lease_counts_while_nobody_else_has_claimed(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    claimed = await world.claim_one()
    world.pass_time(LEASE.total_seconds() + 1)
    assert (await world.record_one(world.outcome(claimed, 200))).applied
    assert (await world.delivery(message, endpoint)).status == DELIVERY_STATUS_SUCCEEDED


async def test_events_of_an_environment_are_numbered_without_gaps_in_the_order_of_recording(
    world: World,
) -> None:
    application = await world.application()
    await world.endpoint(application)
    sent = await world.send(application, count=5)
    claimed = {one.message_id: one for one in (await world.claim()).deliveries}
    order = [sent[3], sent[0], sent[4], sent[1], sent[2]]
    await world.record(*(world.outcome(claimed[id], 200) for id in order[:3]))
    await world.record(*(world.outcome(claimed[id], 200) for id in order[3:]))
    events = await world.events()
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.message_id for event in events] == order


async def test_each_environment_has_event_numbers_of_its_own(world: World) -> None:
    other = await world.environment()
    for environment in (world.environment_id, other):
        application = await world.application(environment_id=environment)
        await world.endpoint(application, environment_id=environment)
        await world.send(application, count=2, environment_id=environment)
    await world.record(*(world.outcome(one, 200) for one in (await world.claim()).deliveries))
    for environment in (world.environment_id, other):
        assert [event.sequence for event in await world.events(environment)] == [1, 2]


async def test_an_outcome_whose_transaction_does_not_commit_leaves_nothing(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    outcome = world.outcome(await world.claim_one(), 410)
    before = await world.delivery(message, endpoint)

    async def fail() -> None:
        async with world.database.write() as conn:
            await record_outcomes(conn, [outcome], now=world.now, ids=world.ids)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await world.delivery(message, endpoint) == before
    assert await world.events() == []
    assert not (await world.endpoint_now(application, endpoint)).disabled
    assert (await world.record_one(outcome)).applied


async def test_manual_attempts_are_numbered_in_sequence_and_use_up_no_step(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=60))
    await request_attempt(world, message, endpoint)
    manual = await world.claim_one()
    assert (manual.attempt_count, manual.scheduled_count) == (1, 1)
    recorded = await world.record_one(world.outcome(manual, retry_in=None))
    # Its failure changes nothing about the schedule.
    assert recorded.status == DELIVERY_STATUS_PENDING
    assert recorded.next_due_at == world.now + seconds(60)
    world.pass_time(60)
    third = await world.claim_one()
    assert (third.attempt_count, third.scheduled_count, third.manual) == (2, 1, False)
    await world.record_one(world.outcome(third, 200))
    shown = [event.event.attempt for event in await world.events()]
    assert [attempt.number for attempt in shown] == [1, 2, 3]
    assert [attempt.trigger for attempt in shown] == [
        ATTEMPT_TRIGGER_SCHEDULED,
        ATTEMPT_TRIGGER_MANUAL,
        ATTEMPT_TRIGGER_SCHEDULED,
    ]


async def test_a_manual_attempt_asked_for_during_an_attempt_comes_right_after_it(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    under_way = await world.claim_one()
    await request_attempt(world, message, endpoint)
    assert not (await world.claim()).deliveries
    await world.record_one(world.outcome(under_way, retry_in=60))
    manual = await world.claim_one()
    assert manual.manual
    await world.record_one(world.outcome(manual, retry_in=None))
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_PENDING
    assert delivery.next_attempt_time.ToDatetime(world.now.tzinfo) == world.now + seconds(60)


async def test_a_manual_attempt_asked_for_during_a_manual_attempt_comes_right_after_it(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=60))
    await request_attempt(world, message, endpoint)
    first = await world.claim_one()
    await request_attempt(world, message, endpoint)
    await world.record_one(world.outcome(first, retry_in=None))
    second = await world.claim_one()
    assert second.manual


@pytest.mark.parametrize("ended_by", [200, 500])
async def test_a_manual_attempt_that_fails_leaves_an_ended_delivery_as_it_was(
    world: World, ended_by: int
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), ended_by, retry_in=None))
    before = await world.delivery(message, endpoint)
    world.pass_time(10)
    await request_attempt(world, message, endpoint)
    await world.record_one(world.outcome(await world.claim_one(), 500, retry_in=None))
    after = await world.delivery(message, endpoint)
    assert after.status == before.status
    assert after.end_time == before.end_time
    assert after.attempt_count == 2
    assert not (await world.claim()).deliveries


async def test_a_manual_attempt_that_succeeds_makes_a_failed_delivery_succeed(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=None))
    world.pass_time(10)
    await request_attempt(world, message, endpoint)
    await world.record_one(world.outcome(await world.claim_one(), 200))
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_SUCCEEDED
    assert delivery.end_time.ToDatetime(world.now.tzinfo) == world.now


async def test_gone_disables_the_endpoint_and_cancels_what_waits_for_it(world: World) -> None:
    application = await world.application()
    gone = await world.endpoint(application)
    other = await world.endpoint(application)
    first, second = await world.send(application, count=2)
    claimed = next(
        one
        for one in (await world.claim(room=lambda id: int(id == gone))).deliveries
        if one.destination.endpoint_id == gone
    )
    recorded = await world.record_one(world.outcome(claimed, 410))
    assert recorded.status == DELIVERY_STATUS_CANCELLED
    assert recorded.next_due_at is None
    endpoint = await world.endpoint_now(application, gone)
    assert endpoint.disabled
    assert endpoint.disable_reason == DISABLE_REASON_GONE
    assert (recorded.endpoint_id, recorded.disabled_for) == (gone, DISABLE_REASON_GONE)
    async with world.database.write() as conn:
        assert await retirement.continue_one(conn, now=world.now) == world.environment_id
    for message in (first, second):
        delivery = await world.delivery(message, gone)
        assert delivery.status == DELIVERY_STATUS_CANCELLED
        assert delivery.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED
        assert (await world.delivery(message, other)).status == DELIVERY_STATUS_PENDING
    assert not (await world.endpoint_now(application, other)).disabled


async def test_five_days_of_failures_alone_disable_the_endpoint(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=0))
    world.now += timedelta(days=5) - seconds(1)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=0))
    assert not (await world.endpoint_now(application, endpoint)).disabled
    world.pass_time(1)
    recorded = await world.record_one(world.outcome(await world.claim_one(), retry_in=0))
    assert recorded.status == DELIVERY_STATUS_CANCELLED
    disabled = await world.endpoint_now(application, endpoint)
    assert disabled.disable_reason == DISABLE_REASON_FAILING
    delivery = await world.delivery(message, endpoint)
    assert delivery.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED
    assert delivery.attempt_count == 3


async def test_one_success_among_five_days_of_failures_keeps_the_endpoint(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    failing, working = await world.send(application, count=2)
    claimed = {one.message_id: one for one in (await world.claim()).deliveries}
    await world.record(
        world.outcome(claimed[failing], retry_in=0), world.outcome(claimed[working], 200)
    )
    world.now += timedelta(days=5)
    await world.record_one(world.outcome(await world.claim_one(), retry_in=0))
    found = await world.endpoint_now(application, endpoint)
    assert not found.disabled
    # The five days begin anew with the first failure after the success.
    assert found.failing_since.ToDatetime(world.now.tzinfo) == world.now


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, DELIVERY_STATUS_SUCCEEDED), (500, DELIVERY_STATUS_CANCELLED)],
)
@pytest.mark.parametrize(
    "reason", [CANCEL_REASON_ENDPOINT_DISABLED, CANCEL_REASON_ENDPOINT_DELETED]
)
async def test_an_attempt_under_way_while_its_endpoint_ends_is_recorded_and_not_retried(
    world: World, reason: int, status: int, expected: int
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    claimed = await world.claim_one()
    async with world.database.write() as conn:
        if reason == CANCEL_REASON_ENDPOINT_DELETED:
            await endpoints.mark_deleted(conn, id=endpoint, now=world.now)
        else:
            await endpoints.disable(
                conn,
                environment_id=world.environment_id,
                id=endpoint,
                reason=DISABLE_REASON_REQUESTED,
                now=world.now,
            )
        await retirement.retire(
            conn,
            environment_id=world.environment_id,
            endpoint_id=endpoint,
            reason=reason,
            now=world.now,
        )
    assert (await world.record_one(world.outcome(claimed, status))).applied
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == expected
    assert delivery.attempt_count == 1
    assert delivery.cancel_reason == (reason if expected == DELIVERY_STATUS_CANCELLED else 0)
    world.pass_time(1_000_000)
    assert not (await world.claim()).deliveries


async def test_an_attempt_under_way_while_its_application_is_deleted_is_cancelled_for_that_reason(
    world: World,
) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    claimed = await world.claim_one()
    async with world.database.write() as conn:
        await applications.mark_deleted(conn, id=application, now=world.now)
        ids = await endpoints.mark_all_deleted(conn, application_id=application, now=world.now)
        await retirement.retire_later(
            conn,
            environment_id=world.environment_id,
            endpoint_ids=ids,
            reason=CANCEL_REASON_APPLICATION_DELETED,
        )
    async with world.database.write() as conn:
        await retirement.continue_one(conn, now=world.now)
    await world.record_one(world.outcome(claimed, 500))
    delivery = await world.delivery(message, endpoint)
    assert delivery.status == DELIVERY_STATUS_CANCELLED
    assert delivery.cancel_reason == CANCEL_REASON_APPLICATION_DELETED


async def request_attempt(world: World, message: str, endpoint: str) -> None:
    async with world.database.write() as conn:
        await deliveries.request_attempt(
            conn,
            environment_id=world.environment_id,
            message_id=message,
            endpoint_id=endpoint,
            now=world.now,
        )
