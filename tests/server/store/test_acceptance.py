"""Acceptance: messages, their deliveries and their answers become durable together."""

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from octohooks.v1.application_pb2 import Application
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_PENDING
from octohooks_server.errors import AlreadyExists, FailedPrecondition, NotFound
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store.acceptance import Accepted, accept, makes_one_change
from octohooks_server.store.applications import ensure_operational
from octohooks_server.store.database import PostgresDatabase
from octohooks_server.store.idempotency import KeyedRequest
from octohooks_server.store.tables import (
    applications,
    deliveries,
    hand_overs,
    idempotent_answers,
    messages,
)
from sqlalchemy import func, select

from tests.server.store.statements import runs_of_the_store
from tests.server.store.world import LEASE, World, seconds


async def count(world: World, table: object) -> int:
    ((row),) = await world.execute(select(func.count().label("n")).select_from(table))  # type: ignore[arg-type]
    return int(row["n"])


def keyed(key: str, request: str = "request", scope: str = "env_1") -> KeyedRequest:
    return KeyedRequest(scope=scope, key_hash=key.encode(), request_hash=request.encode())


async def test_a_message_gets_a_delivery_for_each_endpoint_that_wants_it(world: World) -> None:
    application = await world.application()
    everything = await world.endpoint(application)
    wanting = await world.endpoint(application, event_types=["a.b"], channels=["x"])
    for fields in ({"event_types": ["c.d"]}, {"channels": ["y"]}, {"disabled": True}):
        await world.endpoint(application, **fields)
    await world.endpoint(await world.application())
    (message,) = await world.send(application, event_type="a.b", channels=["x", "z"])
    rows = await world.execute(select(deliveries.c.message_id, deliveries.c.endpoint_id))
    assert {(row["message_id"], row["endpoint_id"]) for row in rows} == {
        (message, everything),
        (message, wanting),
    }


async def test_a_message_that_is_addressed_to_one_endpoint_goes_to_no_other(world: World) -> None:
    application = await world.application()
    addressed = await world.endpoint(application, event_types=["something.else"])
    await world.endpoint(application)
    await world.send(application, addressed_to=addressed)
    rows = await world.execute(select(deliveries.c.endpoint_id))
    assert [row["endpoint_id"] for row in rows] == [addressed]


async def test_a_delivery_is_due_when_the_first_step_of_its_schedule_says(world: World) -> None:
    application = await world.application()
    at_once = await world.endpoint(application, [seconds(0)])
    later = await world.endpoint(application, [seconds(30)])
    (message,) = await world.send(application)
    for endpoint, wait in ((at_once, 0), (later, 30)):
        delivery = await world.delivery(message, endpoint)
        assert delivery.status == DELIVERY_STATUS_PENDING
        due_at = delivery.next_attempt_time.ToDatetime(world.now.tzinfo)
        assert due_at == world.now + seconds(wait)


async def test_what_is_due_at_once_is_claimed_where_there_is_room_and_waits_elsewhere(
    world: World,
) -> None:
    application = await world.application()
    with_room = await world.endpoint(application)
    without_room = await world.endpoint(application)
    later = await world.endpoint(application, [seconds(1)])
    (accepted,) = await world.accept(
        world.draft(application, payload=b"[1]"),
        may_claim=lambda endpoint_id: endpoint_id in (with_room, later),
    )
    assert isinstance(accepted, Accepted)
    (claimed,) = accepted.claimed
    assert claimed.destination.endpoint_id == with_room
    assert claimed.payload == b"[1]"
    assert claimed.lease_ends_at == world.now + LEASE
    # Nobody else gets what is claimed, until the lease ends.
    assert [one.destination.endpoint_id for one in (await world.claim()).deliveries] == [
        without_room
    ]
    world.pass_time(60)
    again = {one.destination.endpoint_id: one for one in (await world.claim()).deliveries}
    assert set(again) == {with_room, without_room, later}
    # The result of the claim that ended is fenced off by the new one.
    assert again[with_room].claim > claimed.claim
    assert not (await world.record_one(world.outcome(claimed, 200))).applied


async def test_a_claim_of_acceptance_records_its_outcome(world: World) -> None:
    application = await world.application()
    endpoint = await world.endpoint(application)
    (accepted,) = await world.accept(world.draft(application), may_claim=lambda _: True)
    assert isinstance(accepted, Accepted)
    (claimed,) = accepted.claimed
    assert (await world.record_one(world.outcome(claimed, 200))).applied
    delivery = await world.delivery(accepted.message.id, endpoint)
    assert delivery.attempt_count == 1


async def test_what_counts_as_one_change_is_stored_by_one_statement_on_postgresql(
    world: World,
) -> None:
    """So that it is whole without a transaction around it."""
    application = await world.application(uid="customer")
    for _ in range(2):
        await world.endpoint(application)
    drafts = [world.draft(one) for one in (application, "customer", "nobody", application)]
    assert makes_one_change(drafts)
    with runs_of_the_store() as runs:
        await world.accept(*drafts, may_claim=lambda _: True, hands_over=True)
    changing = [one for one in runs if "INSERT" in one or "UPDATE" in one or "DELETE" in one]
    if isinstance(world.database, PostgresDatabase):
        assert len(changing) == 1
    assert await count(world, messages) == 3
    assert await count(world, deliveries) == 6
    assert await count(world, hand_overs) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": "order-1"},
        {"keyed": keyed("k")},
        {"inline_application": Application(id="app_1", uid="new")},
        {"payload": bytes(64 * 1024)},
    ],
    ids=["a UID", "an idempotency key", "an application to be made", "a large payload"],
)
async def test_what_takes_several_statements_is_no_single_change(
    world: World, fields: dict[str, Any]
) -> None:
    assert not makes_one_change([world.draft("customer"), world.draft("new", **fields)])


async def test_large_and_small_payloads_are_stored_together(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    payloads = [b"%d" % number * size for number, size in enumerate((1, 65_536, 350_000, 65_535))]
    results = await world.accept(*(world.draft(application, payload=one) for one in payloads))
    assert all(isinstance(result, Accepted) for result in results)
    claimed = (await world.claim()).deliveries
    assert sorted(one.payload for one in claimed) == sorted(payloads)


async def test_nobody_sends_to_an_environments_own_application_by_its_id(world: World) -> None:
    async with world.database.write() as conn:
        own = await ensure_operational(
            conn,
            environment_id=world.environment_id,
            new_id=world.ids.new(APPLICATION),
            now=world.now,
        )
    await world.endpoint(own)
    (refused,) = await world.accept(world.draft(own))
    assert isinstance(refused, NotFound)
    (accepted,) = await world.accept(world.draft(own)._replace(is_operational=True))
    assert isinstance(accepted, Accepted)


async def test_each_draft_of_a_group_has_its_own_result(world: World) -> None:
    application = await world.application(uid="customer")
    drafts = [
        world.draft("customer"),
        world.draft("nobody"),
        world.draft(application, uid="order-1"),
        world.draft("customer", uid="order-1"),
    ]
    results = await world.accept(*drafts)
    assert [type(result) for result in results] == [Accepted, NotFound, Accepted, AlreadyExists]
    stored = [draft.message.id for draft in (drafts[0], drafts[2])]
    rows = await world.execute(select(messages.c.id, messages.c.application_id))
    assert {(row["id"], row["application_id"]) for row in rows} == {
        (id, application) for id in stored
    }


async def test_a_uid_that_is_taken_stores_neither_message_nor_delivery(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, uid="order-1")
    (refused,) = await world.accept(world.draft(application, uid="order-1"))
    assert isinstance(refused, AlreadyExists)
    assert await count(world, messages) == 1
    assert await count(world, deliveries) == 1


async def test_two_applications_may_use_the_same_message_uid(world: World) -> None:
    for _ in range(2):
        await world.send(await world.application(), uid="order-1")
    assert await count(world, messages) == 2


async def test_an_application_of_another_environment_is_not_found(world: World) -> None:
    other = await world.environment()
    theirs = await world.application(uid="theirs", environment_id=other)
    results = await world.accept(world.draft(theirs), world.draft("theirs"))
    assert [type(result) for result in results] == [NotFound, NotFound]


async def test_an_inline_application_is_made_once_for_all_drafts_that_carry_it(
    world: World,
) -> None:
    inline = [
        Application(id=world.ids.new(APPLICATION), uid="customer", name=f"Name {number}")
        for number in range(4)
    ]
    results = await world.accept(
        *(world.draft("customer", inline_application=one) for one in inline[:3])
    )
    owners = {result.message.application for result in results if isinstance(result, Accepted)}
    (row,) = await world.execute(select(applications.c.id, applications.c.name))
    assert owners == {row["id"]}
    assert row["name"] == "Name 0"
    # Later ones find it and leave it as it is.
    (later,) = await world.accept(world.draft("customer", inline_application=inline[3]))
    assert isinstance(later, Accepted)
    assert later.message.application == row["id"]
    assert await count(world, applications) == 1


async def test_the_same_key_with_the_same_request_is_answered_with_the_first_message(
    world: World,
) -> None:
    application = await world.application()
    await world.endpoint(application)
    (first,) = await world.accept(world.draft(application, keyed=keyed("k")))
    # In another transaction, and twice within one.
    later = await world.accept(
        world.draft(application, keyed=keyed("k")), world.draft(application, keyed=keyed("k"))
    )
    assert isinstance(first, Accepted)
    for repetition in later:
        assert isinstance(repetition, Accepted)
        assert repetition.is_repetition
        assert repetition.message == first.message
        assert repetition.claimed == ()
    assert await count(world, messages) == 1
    assert await count(world, deliveries) == 1


async def test_drafts_of_one_group_with_one_key_make_one_message(world: World) -> None:
    application = await world.application()
    results = await world.accept(*(world.draft(application, keyed=keyed("k")) for _ in range(50)))
    assert {result.message.id for result in results if isinstance(result, Accepted)} == {
        results[0].message.id  # type: ignore[union-attr]
    }
    assert len(results) == 50
    assert await count(world, messages) == 1


async def test_the_same_key_with_another_request_is_refused(world: World) -> None:
    application = await world.application()
    first, other_in_group = await world.accept(
        world.draft(application, keyed=keyed("k", "one")),
        world.draft(application, keyed=keyed("k", "two")),
    )
    (other_later,) = await world.accept(world.draft(application, keyed=keyed("k", "three")))
    assert isinstance(first, Accepted)
    for refused in (other_in_group, other_later):
        assert isinstance(refused, FailedPrecondition)
        assert refused.reason == "IDEMPOTENCY_KEY_REUSED"
    assert await count(world, messages) == 1


async def test_one_key_in_two_environments_makes_two_messages(world: World) -> None:
    application = await world.application()
    results = await world.accept(
        world.draft(application, keyed=keyed("k", scope="env_1")),
        world.draft(application, keyed=keyed("k", scope="env_2")),
    )
    assert [type(result) for result in results] == [Accepted, Accepted]
    assert await count(world, messages) == 2


async def test_a_request_that_failed_keeps_nothing_under_its_key(world: World) -> None:
    (refused,) = await world.accept(world.draft("customer", keyed=keyed("k")))
    assert isinstance(refused, NotFound)
    assert await count(world, idempotent_answers) == 0
    await world.application(uid="customer")
    (accepted,) = await world.accept(world.draft("customer", keyed=keyed("k")))
    assert isinstance(accepted, Accepted)
    assert not accepted.is_repetition


async def test_a_request_that_failed_leaves_its_key_to_others_of_its_group(world: World) -> None:
    application = await world.application()
    results = await world.accept(
        world.draft("customer", keyed=keyed("k", "failing")),
        world.draft(application, keyed=keyed("k", "good")),
        world.draft("customer", keyed=keyed("k", "failing")),
        world.draft(application, keyed=keyed("k", "good")),
    )
    assert isinstance(results[0], NotFound)
    assert isinstance(results[1], Accepted)
    assert isinstance(results[2], NotFound)
    assert isinstance(results[3], Accepted)
    assert results[3].message == results[1].message
    assert results[3].is_repetition
    assert await count(world, messages) == await count(world, idempotent_answers) == 1


@pytest.mark.parametrize(
    ("later", "messages_made"), [(timedelta(hours=12, seconds=-1), 1), (timedelta(hours=12), 2)]
)
async def test_an_answer_is_kept_under_its_key_for_twelve_hours(
    world: World, later: timedelta, messages_made: int
) -> None:
    application = await world.application()
    await world.accept(world.draft(application, keyed=keyed("k")))
    world.now += later
    await world.accept(world.draft(application, keyed=keyed("k")))
    assert await count(world, messages) == messages_made


async def test_the_payload_is_kept_for_as_long_as_message_or_environment_say(
    world: World,
) -> None:
    application = await world.application()
    (usual,) = await world.send(application)
    own = Duration(seconds=5 * 86_400)
    (short,) = await world.send(application, payload_retention=own)
    rows = await world.execute(select(messages.c.id, messages.c.payload_expires_at))
    assert {row["id"]: row["payload_expires_at"] - world.now for row in rows} == {
        usual: timedelta(days=90),
        short: timedelta(days=5),
    }


async def test_a_transaction_that_does_not_commit_leaves_nothing(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)

    async def fail() -> None:
        async with world.database.write() as conn:
            await accept(
                conn,
                [world.draft(application, keyed=keyed("k"))],
                now=world.now,
                lease=LEASE,
                may_claim=lambda _: False,
            )
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    for table in (messages, deliveries, idempotent_answers):
        assert await count(world, table) == 0
