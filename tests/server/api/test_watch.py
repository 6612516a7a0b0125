"""WatchAttempts: a live stream that resumes and never skips."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
import octohooks
import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED
from octohooks.v1.attempt_service_pb2 import (
    AttemptEvent,
    WatchAttemptsRequest,
    WatchAttemptsResponse,
)
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub
from octohooks.v1.delivery_pb2 import CANCEL_REASON_ENDPOINT_DISABLED
from octohooks_server.api import watch as watch_module

from tests.receivers import Receiver, respond
from tests.server.api.home import Home
from tests.server.api.serving import Server, Tenant, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def take(watch: Any, count: int) -> list[AttemptEvent]:
    """The next events of a watch."""
    return [await anext(watch) for _ in range(count)]


async def an_application(client: AsyncOctohooks, uid: str, receiver: Receiver) -> None:
    """An application with one endpoint."""
    await client.application.create(uid=uid)
    await client.endpoint.create(uid, url=receiver.url)


async def send(client: AsyncOctohooks, application: str, count: int, event: str = "x") -> None:
    """Accepts messages at the same time."""
    await asyncio.gather(
        *(
            client.message.create(application, event_type=event, payload={"number": number})
            for number in range(count)
        )
    )


async def listed(client: AsyncOctohooks, application: str | None = None) -> list[str]:
    """The IDs of the attempts in a list, oldest first."""
    return [attempt.id async for attempt in client.attempt.list(application=application)][::-1]


def ids(events: list[AttemptEvent]) -> list[str]:
    """The attempts that events are about."""
    return [event.attempt.id for event in events]


async def test_a_watch_shows_every_attempt_in_the_order_of_the_list(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await an_application(octohooks, "shop", receiver)
    async with octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        await send(octohooks, "shop", 50)
        seen = ids(await take(watch, 50))
    assert seen == await listed(octohooks)


async def test_a_watch_goes_on_after_its_token_on_another_start_of_the_server(
    home: Home, receiver: Receiver
) -> None:
    key = "k" * 40
    async with serving(home, operator_key=key) as server:
        tenant = await server.new_tenant()
        await an_application(tenant.octohooks, "shop", receiver)
        async with tenant.octohooks.attempt.watch(application="shop") as watch:
            await watch.wait_until_live()
            token = watch.resume_token
            await send(tenant.octohooks, "shop", 20)
            seen = ids(await take(watch, 20))
    async with serving(home, operator_key=key) as server:
        again = await server.tenant(tenant.id, tenant.key)
        async with again.octohooks.attempt.watch(application="shop", resume_token=token) as watch:
            assert ids(await take(watch, 20)) == seen


async def test_a_token_in_the_middle_of_a_response_repeats_rather_than_misses(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await an_application(octohooks, "shop", receiver)
    async with octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        await send(octohooks, "shop", 30)
        seen = ids(await take(watch, 7))
        token = watch.resume_token
        await take(watch, 23)
    every = await listed(octohooks)
    async with octohooks.attempt.watch(resume_token=token) as watch:
        first = ids(await take(watch, 1))[0]
        place = every.index(first)
        assert place <= len(seen)
        assert [first, *ids(await take(watch, 29 - place))] == every[place:]


async def test_a_watch_since_a_time_begins_with_the_first_event_recorded_from_then_on(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await an_application(octohooks, "shop", receiver)
    async with octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        await send(octohooks, "shop", 5)
        early = ids(await take(watch, 5))
        between = datetime.now(UTC)
        await send(octohooks, "shop", 5)
        late = ids(await take(watch, 5))
    async with octohooks.attempt.watch(since=between) as watch:
        assert ids(await take(watch, 5)) == late
    async with octohooks.attempt.watch(since=between - timedelta(hours=1)) as watch:
        assert ids(await take(watch, 10)) == early + late


async def test_a_watch_shows_what_its_filter_names_and_nothing_else(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await an_application(octohooks, "shop", receiver)
    await an_application(octohooks, "bank", receiver)
    async with (
        octohooks.attempt.watch(application="shop", event_types=["paid"]) as filtered,
        octohooks.attempt.watch() as everything,
    ):
        await filtered.wait_until_live()
        await everything.wait_until_live()
        await send(octohooks, "bank", 3, "paid")
        await send(octohooks, "shop", 3, "sent")
        await take(everything, 6)
        await send(octohooks, "shop", 2, "paid")
        events = await take(filtered, 2)
    assert {event.attempt.event_type for event in events} == {"paid"}
    assert ids(events) == (await listed(octohooks, application="shop"))[-2:]


async def test_a_watch_of_failures_shows_failures_alone(octohooks: AsyncOctohooks) -> None:
    async with Receiver(respond(500), respond(200)) as receiver:
        await octohooks.application.create(uid="shop")
        await octohooks.endpoint.create(
            "shop", url=receiver.url, retry_schedule=[0, 0.01, 0.01], uid="door"
        )
        async with octohooks.attempt.watch(kinds=["failed"]) as watch:
            await watch.wait_until_live()
            await send(octohooks, "shop", 1)
            (event,) = await take(watch, 1)
    assert event.attempt.outcome == ATTEMPT_OUTCOME_FAILED
    assert event.attempt.response_status == 500


async def test_a_cancelled_delivery_is_an_event_of_its_own(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await octohooks.application.create(uid="shop")
    endpoint = await octohooks.endpoint.create(
        "shop", url=receiver.url, uid="door", retry_schedule=[3600]
    )
    await send(octohooks, "shop", 1)
    async with octohooks.attempt.watch(kinds=["cancelled"]) as watch:
        await watch.wait_until_live()
        await octohooks.endpoint.update("shop", "door", disabled=True)
        (event,) = await take(watch, 1)
    assert event.cancelled_delivery.endpoint == endpoint.id
    assert event.cancelled_delivery.cancel_reason == CANCEL_REASON_ENDPOINT_DISABLED


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"application": "bank"}, id="another filter"),
        pytest.param({"application": "shop", "event_types": ["x"]}, id="a narrower filter"),
        pytest.param({}, id="no filter"),
    ],
)
async def test_a_token_is_good_for_its_own_filter_alone(
    octohooks: AsyncOctohooks, receiver: Receiver, change: dict[str, Any]
) -> None:
    await an_application(octohooks, "shop", receiver)
    await an_application(octohooks, "bank", receiver)
    async with octohooks.attempt.watch(application="shop") as watch:
        await watch.wait_until_live()
        token = watch.resume_token
    await refused(octohooks, resume_token=token, **change)


async def test_a_token_is_good_for_its_own_environment_alone(
    tenant: Tenant, other_tenant: Tenant
) -> None:
    async with tenant.octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        token = watch.resume_token
    await refused(other_tenant.octohooks, resume_token=token)


@pytest.mark.parametrize("token", ["!", "AAAA", "x" * 5_000, "ä"])
async def test_a_token_that_was_not_made_here_is_refused(
    octohooks: AsyncOctohooks, token: str
) -> None:
    await refused(octohooks, resume_token=token)


async def test_an_altered_token_is_refused(octohooks: AsyncOctohooks) -> None:
    async with octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        token = watch.resume_token
    altered = token[:3] + ("A" if token[3] != "A" else "B") + token[4:]
    await refused(octohooks, resume_token=altered)


async def refused(client: AsyncOctohooks, **how: Any) -> None:
    """A watch that is refused for its token."""
    async with client.attempt.watch(**how) as watch:
        with pytest.raises(octohooks.InvalidArgument) as raised:
            await watch.wait_until_live()
    assert [violation.field for violation in raised.value.violations] == ["resume_token"]


async def test_more_watches_than_an_environment_may_have_are_refused(home: Home) -> None:
    async with serving(home, max_watches_per_environment=2) as server:
        one, other = await server.new_tenant(), await server.new_tenant()
        async with (
            one.octohooks.attempt.watch() as first,
            one.octohooks.attempt.watch() as second,
            one.octohooks.attempt.watch() as third,
            other.octohooks.attempt.watch() as elsewhere,
        ):
            await first.wait_until_live()
            await second.wait_until_live()
            with pytest.raises(octohooks.ResourceExhausted) as raised:
                await third.wait_until_live()
            assert raised.value.reason == "TOO_MANY_WATCHES"
            await elsewhere.wait_until_live()


async def test_a_watch_ends_when_its_key_is_revoked(server: Server, tenant: Tenant) -> None:
    key = await server.new_key(tenant.id)
    watcher = await server.tenant(tenant.id, key)
    keys = [one async for one in tenant.octohooks.api_key.list()]
    (revoked,) = [one for one in keys if key.startswith(one.display_prefix)]
    async with watcher.octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        await tenant.octohooks.api_key.revoke(revoked.id)
        with pytest.raises(octohooks.Unauthenticated):
            await anext(watch)
    # That leaves a busy machine two of the five seconds to look and to tell.
    assert watch_module._KEY_CHECK_SECONDS <= 3


async def test_a_stopping_server_ends_its_watches_and_does_not_wait_for_them(
    home: Home,
) -> None:
    async with AsyncExitStack() as stack:
        # Longer than the test may take.
        async with serving(home, shutdown_grace=timedelta(minutes=10)) as server:
            tenant = await server.new_tenant()
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            call = AttemptServiceStub(channel).WatchAttempts(
                WatchAttemptsRequest(), metadata=[("authorization", f"Bearer {tenant.key}")]
            )
            await call.read()
        bookmark = await call.read()
        assert isinstance(bookmark, WatchAttemptsResponse)
        assert bookmark.resume_token
        assert not bookmark.events
        assert await call.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_watch_that_is_not_read_delays_neither_deliveries_nor_other_watches(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    await an_application(octohooks, "shop", receiver)
    async with octohooks.attempt.watch() as unread, octohooks.attempt.watch() as read:
        await unread.wait_until_live()
        await read.wait_until_live()
        await send(octohooks, "shop", 200)
        seen = ids(await take(read, 200))
        assert seen == await listed(octohooks)
        assert ids(await take(unread, 200)) == seen
