"""History: it is kept as long as the operator says, and no watch skips what is gone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio
import octohooks
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub
from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest
from octohooks.v1.environment_service_pb2 import DeleteEnvironmentRequest
from octohooks_server.api import event_tail
from octohooks_server.background import cleaning
from octohooks_server.store import history

from tests.receivers import Receiver
from tests.server.api.ages import World
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.server.api.rows import Rows, all_text, rows_of
from tests.server.api.serving import Tenant
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY = 24 * 3600
# Behind it, a URL makes an event of more than 1,900 bytes.
LONG = "?" + "q" * 1_900


@pytest.fixture
def world(home: Home) -> World:
    """A new environment on a server that keeps history for 100 days."""
    return World(home, history_retention=timedelta(days=100))


async def deliver(client: AsyncOctohooks, application: str, count: int) -> list[str]:
    """Sends messages to an application with one endpoint; answers the attempts, in their order."""
    async with client.attempt.watch(application=application) as watch:
        await watch.wait_until_live()
        for _ in range(count):
            await client.message.create(application, event_type="e", payload={})
        return [(await anext(watch)).attempt.id for _ in range(count)]


async def until_attempts_are(client: AsyncOctohooks, expected: list[str], **filters: Any) -> None:
    """Waits until the list holds these attempts alone."""

    async def look() -> bool:
        listed = [one.id async for one in client.attempt.list(page_size=250, **filters)]
        return listed[::-1] == expected

    await eventually(look)


async def shown(client: AsyncOctohooks, count: int, **how: Any) -> list[str]:
    """The attempts that a watch shows first."""
    async with client.attempt.watch(**how) as watch:
        return [(await anext(watch)).attempt.id for _ in range(count)]


async def token_of_now(client: AsyncOctohooks, **filters: Any) -> str:
    """Where a watch stands that begins now."""
    async with client.attempt.watch(**filters) as watch:
        await watch.wait_until_live()
        return watch.resume_token


async def oldest_token(client: AsyncOctohooks, **how: Any) -> str:
    """The token that a watch is given that asks for more than there is."""
    async with client.attempt.watch(**how) as watch:
        with pytest.raises(octohooks.OutOfRange) as raised:
            await watch.wait_until_live()
    assert raised.value.reason == "WATCH_HISTORY_GONE"
    return raised.value.metadata["oldest_resume_token"]


@asynccontextmanager
async def two_ages(world: World, receiver: Receiver) -> AsyncIterator[tuple[Tenant, Any]]:
    """Day 101, when attempts of day 0 have just been deleted, and those of day 50 have not."""
    told: dict[str, Any] = {}
    async with world.at() as tenant:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        told["before"] = await token_of_now(tenant.octohooks)
        told["old"] = await deliver(tenant.octohooks, "acme", 3)
        told["between"] = await token_of_now(tenant.octohooks)
    async with world.at(days=50) as tenant:
        told["young"] = await deliver(tenant.octohooks, "acme", 2)
    async with world.at(days=51) as tenant:
        await until_attempts_are(tenant.octohooks, told["young"])
        yield tenant, told


async def test_what_is_older_than_the_history_goes_and_what_is_younger_stays(
    world: World, receiver: Receiver
) -> None:
    async with two_ages(world, receiver) as (tenant, told):
        client = tenant.octohooks
        young = {(await client.attempt.get(id)).message for id in told["young"]}

        async def messages() -> bool:
            return {one.id async for one in client.message.list("acme")} == young

        await eventually(messages)
        assert {one.message async for one in client.delivery.list()} == young
        for id in told["old"]:
            with pytest.raises(octohooks.NotFound):
                await client.attempt.get(id)


async def test_without_a_setting_history_stays(home: Home, receiver: Receiver) -> None:
    world = World(home)
    async with world.at() as tenant:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        before = await token_of_now(tenant.octohooks)
        old = await deliver(tenant.octohooks, "acme", 2)
    async with world.at(days=1_000) as tenant:

        async def payloads_are_gone() -> bool:
            messages = [one async for one in tenant.octohooks.message.list("acme")]
            return len(messages) == 2 and all(one.payload_deleted for one in messages)

        await eventually(payloads_are_gone)
        assert await shown(tenant.octohooks, 2, resume_token=before) == old


async def test_a_token_older_than_the_history_is_out_of_range_with_the_oldest_token(
    world: World, receiver: Receiver
) -> None:
    async with two_ages(world, receiver) as (tenant, told):
        client = tenant.octohooks
        oldest = await oldest_token(client, resume_token=told["before"])
        assert await shown(client, 2, resume_token=oldest) == told["young"]
        # What lies behind this one is all there.
        assert await shown(client, 2, resume_token=told["between"]) == told["young"]


async def test_a_time_before_the_history_is_out_of_range_and_a_later_one_is_not(
    world: World, receiver: Receiver
) -> None:
    async with two_ages(world, receiver) as (tenant, told):
        client = tenant.octohooks
        now = world.clock()
        oldest = await oldest_token(client, since=now - timedelta(days=101.5))
        assert await shown(client, 2, resume_token=oldest) == told["young"]
        assert await shown(client, 2, since=now - timedelta(days=60)) == told["young"]


async def test_the_oldest_token_is_good_for_the_filter_that_was_asked_for(
    world: World, receiver: Receiver
) -> None:
    async with world.at() as tenant:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        before = await token_of_now(tenant.octohooks, application="acme", kinds=["succeeded"])
        await deliver(tenant.octohooks, "acme", 2)
    async with world.at(days=101) as tenant:
        await until_attempts_are(tenant.octohooks, [])
        how: dict[str, Any] = {"application": "acme", "kinds": ["succeeded"]}
        oldest = await oldest_token(tenant.octohooks, resume_token=before, **how)
        async with tenant.octohooks.attempt.watch(resume_token=oldest, **how) as watch:
            await watch.wait_until_live()


async def test_where_all_history_is_gone_an_hour_ago_is_a_time_to_begin_at(
    world: World, receiver: Receiver
) -> None:
    async with world.at() as tenant:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        await deliver(tenant.octohooks, "acme", 2)
    async with world.at(days=101) as tenant:
        client = tenant.octohooks
        await until_attempts_are(client, [])
        an_hour_ago = world.clock() - timedelta(hours=1)
        new = await deliver(client, "acme", 1)
        assert await shown(client, 1, since=an_hour_ago) == new


async def test_history_goes_in_small_steps_to_the_last(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_ROWS_AT_ONCE", 2)
    async with two_ages(world, receiver) as (tenant, told):

        async def messages() -> bool:
            return len([one async for one in tenant.octohooks.message.list("acme")]) == 2

        await eventually(messages)
        rows = await rows_of(world.server.database, tenant.id)
        assert {name: len(rows[name]) for name in ("messages", "deliveries", "attempts")} == {
            "messages": 2,
            "deliveries": 2,
            "attempts": len(told["young"]),
        }


async def test_a_message_stays_until_its_last_delivery_has_ended_long_ago(
    world: World, receiver: Receiver
) -> None:
    async with world.at() as tenant:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url, retry_schedule=[DAY])
        await tenant.octohooks.message.create("acme", event_type="e", payload={}, uid="m")
    async with world.at(days=101) as tenant:
        # Sent at last, or cancelled since its payload has gone, whichever comes first.
        await ended(tenant.octohooks, 1)
    async with world.at(days=99) as tenant:
        await tenant.octohooks.message.get("acme", "m")
    async with world.at(days=2) as tenant:

        async def gone() -> bool:
            return not [one async for one in tenant.octohooks.message.list("acme")]

        await eventually(gone)
        assert not [one async for one in tenant.octohooks.delivery.list()]
        await oldest_token(tenant.octohooks, since=world.clock() - timedelta(days=102))
        # Its UID is free.
        await tenant.octohooks.message.create("acme", event_type="e", payload={}, uid="m")


async def test_a_watch_that_has_fallen_behind_the_history_ends_rather_than_skips(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read while more is recorded than is held for it, and all of that is deleted."""
    monkeypatch.setattr(event_tail, "_REMEMBERED", 10)
    options = [("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)]
    async with (
        world.at() as tenant,
        grpc.aio.insecure_channel(world.server.address, options=options) as channel,
    ):
        await tenant.octohooks.endpoint.create("acme", url=receiver.url + LONG)
        call = AttemptServiceStub(channel).WatchAttempts(
            WatchAttemptsRequest(), metadata=[("authorization", f"Bearer {tenant.key}")]
        )
        responses = aiter(call)
        await anext(responses)
        recorded = await deliver(tenant.octohooks, "acme", 300)
        async with world.home.opened() as database, database.write() as conn:
            deleted = await history.clean_events(
                conn, environment_id=tenant.id, before=world.clock(), limit=1_000
            )
        assert deleted == 300
        seen: list[str] = []

        async def read_on() -> None:
            async for response in responses:
                seen.extend(event.attempt.id for event in response.events)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await read_on()
        assert raised.value.code() == grpc.StatusCode.OUT_OF_RANGE
        assert 0 < len(seen) < 300
        assert seen == recorded[: len(seen)]
        assert "oldest_resume_token" in _error_info(raised.value).metadata


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


@pytest.fixture
def lasting(home: Home) -> World:
    """A new environment on a server that keeps history for ever."""
    return World(home)


async def test_an_application_that_was_deleted_a_week_ago_leaves_nothing_behind(
    lasting: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_ROWS_AT_ONCE", 2)
    async with lasting.at() as tenant:
        client = tenant.octohooks
        await client.application.create(uid="bank")
        gone: list[str] = [(await client.application.get("acme")).id]
        for first_step in (0, 0, 0, DAY):
            made = await client.endpoint.create(
                "acme", url=receiver.url, retry_schedule=[first_step]
            )
            gone.append(made.id)
        await client.endpoint.create("bank", url=receiver.url)
        kept = await deliver(client, "bank", 3)
        for _ in range(5):
            gone.append((await client.message.create("acme", event_type="e", payload={})).id)
        gone += [one.id for one in await attempted(client, 15, application="acme")]
        before = _without(await rows_of(lasting.server.database, tenant.id), gone)
        await client.application.delete("acme")
        await ended(client, 5 * 4 + 3)

    async with lasting.at(days=6.9) as tenant:
        # Watches that were away for less than a week miss nothing.
        everything = await shown(tenant.octohooks, 18, since=lasting.clock() - timedelta(days=7))
        assert set(kept) < set(everything)
    async with lasting.at(days=0.2) as tenant:

        async def left() -> bool:
            # The audit log goes on saying what was done with it.
            text = await all_text(lasting.server.database, without=["audit_events"])
            return not any(id in text for id in gone)

        await eventually(left)
        after = await rows_of(lasting.server.database, tenant.id)
        for table in ("applications", "endpoints", "endpoint_secrets", "deliveries", "attempts"):
            assert after[table] == before[table]


def _without(rows: Rows, ids: list[str]) -> Rows:
    """The rows that none of these IDs is in."""
    return {
        table: [row for row in found if not any(id in row for id in ids)]
        for table, found in rows.items()
    }


async def test_a_watch_of_what_a_deleted_application_left_is_out_of_range_and_others_are_not(
    lasting: World, receiver: Receiver
) -> None:
    async with lasting.at() as tenant:
        client = tenant.octohooks
        await client.application.create(uid="bank")
        begun = lasting.clock()
        tokens = [await token_of_now(client), await token_of_now(client, application="bank")]
        for uid in ("acme", "bank"):
            await client.endpoint.create(uid, url=receiver.url)
        first = await deliver(client, "bank", 2)
        await deliver(client, "acme", 2)
        last = await deliver(client, "bank", 2)
        await client.application.delete("acme")
    async with lasting.at(days=7.1) as tenant:
        client = tenant.octohooks
        await until_attempts_are(client, first + last)
        assert await shown(client, 4, application="bank", resume_token=tokens[1]) == first + last
        assert await shown(client, 4, application="bank", since=begun) == first + last
        for how in ({"resume_token": tokens[0]}, {"since": begun}):
            oldest = await oldest_token(client, **how)
            assert await shown(client, 2, resume_token=oldest) == last


async def test_an_environment_that_was_deleted_a_week_ago_leaves_nothing_behind(
    lasting: World, receiver: Receiver
) -> None:
    async with lasting.at() as tenant:
        other = await lasting.server.new_tenant()
        for one in (tenant, other):
            client = one.octohooks
            if one is other:
                await client.application.create(uid="acme")
            await client.endpoint.create("acme", url=receiver.url)
            await client.operational_webhook.create(url=receiver.url)
            await client.event_type.create(name="e", description="E")
            await deliver(client, "acme", 3)
        before = await rows_of(lasting.server.database, other.id)
        await lasting.server.operator(DeleteEnvironmentRequest(environment=tenant.id))
        id = tenant.id
    async with lasting.at(days=6.9):
        assert (await rows_of(lasting.server.database, id))["attempts"]
    async with lasting.at(days=0.2):

        async def gone() -> bool:
            return id not in await all_text(lasting.server.database, without=["audit_events"])

        await eventually(gone)
        log = (await lasting.server.operator(ListAuditEventsRequest(environment=id))).audit_events
        assert [event.method for event in log] == ["DeleteEnvironment", "CreateEnvironment"]
        after = await rows_of(lasting.server.database, other.id)
        # Answers to repeated calls are kept for 12 hours in any case.
        del before["idempotent_answers"], after["idempotent_answers"]
        assert after == before
