"""What a server tells Prometheus about the messages that pass through it."""

import asyncio
import re
import socket

import pytest
from octohooks import AsyncOctohooks, NotFound
from octohooks.values import NewMessage
from octohooks_server.errors import Unavailable
from octohooks_server.observation.metrics import Metrics
from octohooks_server.settings import SettingsError
from octohooks_server.store.database import open_database

from tests.receivers import Connection, Receiver, respond
from tests.server.api.deliveries import attempted, ended
from tests.server.api.home import Home
from tests.server.api.serving import Server, Tenant, serving
from tests.server.observation.scrape import Scrape, get, scrape
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

# Two attempts, one right after the other.
AT_ONCE_TWICE = [0, 0]


async def send(octohooks: AsyncOctohooks, uid: str) -> str:
    message = await octohooks.message.create("acme", event_type="e.f", payload={}, uid=uid)
    return message.id


async def are_open(server: Server, count: int) -> bool:
    return (await scrape(server)).value("octohooks_watches_open") == count


async def test_a_message_that_arrives_is_counted_on_each_of_its_ways(
    observed: Server, tenant: Tenant, before: Scrape, receiver: Receiver
) -> None:
    await tenant.octohooks.endpoint.create("acme", url=receiver.url)
    await send(tenant.octohooks, "m")
    await ended(tenant.octohooks, 1)
    now = await scrape(observed)
    assert now.since(before, "octohooks_messages_accepted_total") == 1
    assert now.since(before, "octohooks_attempts_total") == 1
    succeeded = {"attempt": "first", "outcome": "succeeded", "error_kind": "none"}
    assert now.since(before, "octohooks_attempts_total", **succeeded) == 1
    assert now.since(before, "octohooks_deliveries_ended_total", status="succeeded") == 1
    durations = "octohooks_attempt_duration_seconds_count"
    assert now.since(before, durations, outcome="succeeded") == 1
    assert now.since(before, "octohooks_first_attempt_delay_seconds_count") == 1
    for group in ("messages", "outcomes"):
        assert now.since(before, "octohooks_commit_size_sum", group=group) == 1
        assert now.since(before, "octohooks_commit_duration_seconds_count", group=group) == 1


async def test_failures_and_retries_are_counted_by_their_kind(
    observed: Server, tenant: Tenant, before: Scrape
) -> None:
    async with Receiver(respond(500)) as receiver:
        await tenant.octohooks.endpoint.create(
            "acme", url=receiver.url, uid="main", retry_schedule=AT_ONCE_TWICE
        )
        message = await send(tenant.octohooks, "m")
        await ended(tenant.octohooks, 1)
        await tenant.octohooks.delivery.resend(message=message, endpoint="main", application="acme")
        await attempted(tenant.octohooks, 3)
    now = await scrape(observed)
    for attempt in ("first", "retry", "manual"):
        failed = {"attempt": attempt, "outcome": "failed", "error_kind": "http_status"}
        assert now.since(before, "octohooks_attempts_total", **failed) == 1, attempt
    assert now.since(before, "octohooks_attempts_total") == 3
    # The attempt by hand came after the end.
    assert now.since(before, "octohooks_deliveries_ended_total", status="failed") == 1
    assert now.since(before, "octohooks_deliveries_ended_total", status="succeeded") == 0


async def test_an_endpoint_that_is_disabled_for_its_answer_is_counted(
    observed: Server, tenant: Tenant, before: Scrape
) -> None:
    async with Receiver(respond(410)) as receiver:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        await send(tenant.octohooks, "m")
        await ended(tenant.octohooks, 1)
    now = await scrape(observed)
    assert now.since(before, "octohooks_endpoints_disabled_total", reason="gone") == 1
    assert now.since(before, "octohooks_endpoints_disabled_total", reason="failing") == 0


async def test_messages_of_a_batch_count_each_and_repeated_ones_once(
    observed: Server, tenant: Tenant, before: Scrape
) -> None:
    batch: list[NewMessage] = [{"application": "acme", "event_type": "e", "payload": {}}] * 3
    for _ in range(2):
        await tenant.octohooks.message.create_batch(batch, idempotency_key="a-key")
        await tenant.octohooks.message.create(
            "acme", event_type="e", payload={}, idempotency_key="another"
        )
    now = await scrape(observed)
    assert now.since(before, "octohooks_messages_accepted_total") == 3 + 1


async def test_what_is_under_way_and_what_waits_for_its_turn_is_shown(
    observed: Server, tenant: Tenant
) -> None:
    may_answer = asyncio.Event()

    async def hold(connection: Connection) -> None:
        await may_answer.wait()
        await respond()(connection)

    async with Receiver(hold) as receiver:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        for number in range(3):
            await send(tenant.octohooks, f"m{number}")

        async def at_work() -> bool:
            now = await scrape(observed)
            under_way = now.value("octohooks_attempts_in_flight")
            return under_way == 1 and now.value("octohooks_deliveries_waiting") == 2

        await eventually(at_work)
        may_answer.set()
        await ended(tenant.octohooks, 3)
    now = await scrape(observed)
    assert now.value("octohooks_attempts_in_flight") == 0
    assert now.value("octohooks_deliveries_waiting") == 0
    assert now.value("octohooks_attempts_in_flight_max") == 500


async def test_what_waits_in_the_database_is_shown(observed: Server, tenant: Tenant) -> None:
    may_answer = asyncio.Event()

    async def hold(connection: Connection) -> None:
        await may_answer.wait()
        await respond()(connection)

    async with Receiver(hold) as receiver:
        await tenant.octohooks.endpoint.create("acme", url=receiver.url)
        # Of one endpoint, six are taken into memory, one of them under way.
        for number in range(10):
            await send(tenant.octohooks, f"m{number}")

        async def waits() -> bool:
            return (await scrape(observed)).value("octohooks_deliveries_due") == 4

        await eventually(waits)
        assert (await scrape(observed)).value("octohooks_oldest_due_delivery_age_seconds") > 0
        may_answer.set()
        await ended(tenant.octohooks, 10)
    now = await scrape(observed)
    assert now.value("octohooks_deliveries_due") == 0
    assert now.value("octohooks_oldest_due_delivery_age_seconds") == 0


async def test_a_watch_that_has_been_read_lags_behind_nothing(
    observed: Server, tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.octohooks.endpoint.create("acme", url=receiver.url)
    async with tenant.octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        for number in range(3):
            await send(tenant.octohooks, f"m{number}")
        for _ in range(3):
            await anext(watch)
        # A watch of another test may be closing still.
        await eventually(lambda: are_open(observed, 1))
        assert (await scrape(observed)).value("octohooks_watch_lag_events") == 0


async def test_calls_are_counted_by_method_and_code(
    observed: Server, tenant: Tenant, before: Scrape
) -> None:
    await tenant.octohooks.application.get("acme")
    with pytest.raises(NotFound):
        await tenant.octohooks.application.get("nobody")
    now = await scrape(observed)
    method = "ApplicationService/GetApplication"
    calls = "octohooks_grpc_calls_total"
    assert now.since(before, calls, method=method, code="OK") == 1
    assert now.since(before, calls, method=method, code="NOT_FOUND") == 1
    durations = "octohooks_grpc_call_duration_seconds_count"
    assert now.since(before, durations, method=method) == 2


async def test_open_watches_are_shown(observed: Server, tenant: Tenant) -> None:
    async with tenant.octohooks.attempt.watch() as watch:
        await watch.wait_until_live()
        await eventually(lambda: are_open(observed, 1))
    await eventually(lambda: are_open(observed, 0))


async def test_every_part_of_the_server_tells_when_it_went_on_last(observed: Server) -> None:
    now = await scrape(observed)
    parts = now.families["octohooks_part_seconds_without_progress"].samples
    assert {one.labels["part"] for one in parts} == {
        "delivery",
        "upkeep",
        "messages",
        "outcomes",
    }
    assert now.value("octohooks_serving") == 1


async def test_labels_hold_nothing_that_callers_choose(
    observed: Server, tenant: Tenant, receiver: Receiver
) -> None:
    await tenant.octohooks.endpoint.create("acme", url=receiver.url)
    await send(tenant.octohooks, "m")
    await ended(tenant.octohooks, 1)
    now = await scrape(observed)
    values = {
        value
        for family in now.families.values()
        for sample in family.samples
        for label, value in sample.labels.items()
        if label != "le"
    }
    assert "acme" not in values
    assert not [one for one in values if re.search(r"_[0-9A-Za-z]{26}$", one)]


async def test_the_names_keep_to_the_conventions_of_prometheus() -> None:
    for instrument in Metrics().instruments():
        name = instrument.name.name
        assert re.fullmatch(r"octohooks(_[a-z]+)+", name)
        assert name.endswith("_total") == (instrument.kind == "counter"), name
        assert instrument.name.help.endswith(".")


async def test_metrics_come_as_openmetrics_to_whoever_asks_for_it(observed: Server) -> None:
    status, text = await get(observed, "/metrics", accept="application/openmetrics-text")
    assert status == 200
    assert text.endswith("# EOF\n")


async def test_a_database_that_cannot_be_reached_is_counted() -> None:
    metrics = Metrics()
    database = open_database("sqlite:////nowhere/octohooks.db")
    database.observe_error = metrics.database_failed
    for open_transaction in (database.read, database.write):
        with pytest.raises(Unavailable):
            async with open_transaction():
                pass
    await database.close()
    assert metrics.database_errors.family().samples[0].value == 2


async def test_a_port_that_is_taken_is_refused_by_name(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"OCTOHOOKS_METRICS_LISTEN is {address}"):
            async with serving(home, metrics_listen=address):
                pass


async def test_without_the_setting_no_port_is_opened(home: Home) -> None:
    async with serving(home) as server:
        assert server.running.metrics_address is None
