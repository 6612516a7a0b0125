"""A process that is killed loses nothing, and one that sleeps too long overwrites nothing."""

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_SUCCEEDED
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED
from octohooks_server.rules.ids import IdFactory
from octohooks_server.store import claims
from octohooks_server.store.database import Database, open_database
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.due_choice import DueChooser
from octohooks_server.store.outcomes import record_outcomes

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import until_nothing_is_pending
from tests.acceptance.process import ServerProcess
from tests.acceptance.receiving import answer_after
from tests.receivers import Receiver, Request


async def test_everything_accepted_before_a_kill_is_delivered_after_the_restart(
    start_server: StartServer,
) -> None:
    """And the crash causes at most one extra request for a delivery that was in flight then."""
    server = await start_server(request_timeout="6", lease="16")
    gate = asyncio.Event()
    async with Receiver(answer_after(gate)) as blocked, Receiver() as working:
        async with server.connect() as client:
            application = (await client.application.create(name="A customer")).id
            for receiver in (blocked, working):
                await client.endpoint.create(
                    application, url=receiver.url, retry_schedule=[0, *[0.5] * 19]
                )
            accepted, recorded = await _send_until_killed(client, application, server, 300)
        before = len(blocked.requests)
        in_flight = set(_ids(blocked.requests))
        # All that the blocked receiver got before is unanswered for ever.
        gate.set()
        await server.restart()
        async with server.connect() as client:
            await until_nothing_is_pending(client)
            listed = [one async for one in client.delivery.list(page_size=250)]
            attempts = [one async for one in client.attempt.list(page_size=250)]
    ends = Counter(one.status for one in listed if one.message in accepted)
    assert ends == {DELIVERY_STATUS_SUCCEEDED: 2 * len(accepted)}
    assert accepted <= set(_ids(blocked.requests[before:]))

    for receiver in (blocked, working):
        posts = Counter(_ids(receiver.requests))
        rows = Counter(one.message for one in attempts if one.url == receiver.url)
        extra = {message for message in posts if posts[message] != rows[message]}
        assert all(posts[message] == rows[message] + 1 for message in extra)
        assert extra.isdisjoint(recorded) if receiver is working else extra <= in_flight


async def _send_until_killed(
    client: AsyncOctohooks, application: str, server: ServerProcess, count: int
) -> tuple[set[str], set[str]]:
    """Sends from many tasks at once and kills the server when so many messages are accepted.

    Answers the messages that were accepted, and those of which a success was seen recorded.
    """
    accepted: set[str] = set()
    recorded: set[str] = set()
    enough = asyncio.Event()

    async def send() -> None:
        while True:
            message = await client.message.create(application, event_type="a.b", payload={})
            accepted.add(message.id)
            if len(accepted) >= count:
                enough.set()

    async def watch(live: asyncio.Event) -> None:
        async with client.attempt.watch(application=application) as events:
            await events.wait_until_live()
            live.set()
            async for event in events:
                if event.attempt.outcome == ATTEMPT_OUTCOME_SUCCEEDED:
                    recorded.add(event.attempt.message)

    live = asyncio.Event()
    tasks = [asyncio.create_task(watch(live))]
    await live.wait()
    tasks += [asyncio.create_task(send()) for _ in range(20)]
    await enough.wait()
    await server.kill()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert recorded, "the kill came before any delivery was recorded"
    return accepted, recorded


def _ids(requests: list[Request]) -> list[str]:
    return [request.header("webhook-id") for request in requests]


async def test_a_process_that_slept_past_its_lease_does_not_overwrite_a_newer_result(
    start_server: StartServer,
) -> None:
    """It is stopped during an attempt; meanwhile another server claims, delivers and records."""
    server = await start_server(request_timeout="6", lease="11")
    answer = asyncio.Event()
    async with (
        Receiver(answer_after(answer, status=500)) as receiver,
        server.connect() as client,
    ):
        application = (await client.application.create(name="A customer")).id
        endpoint = await client.endpoint.create(application, url=receiver.url)
        message = await client.message.create(application, event_type="a.b", payload={})
        await receiver.next_request()
        _freeze_between_transactions(server)
        async with _another_server(server) as other:
            claimed = await other.claim_when_due()
            assert claimed.message_id == message.id
            await other.record_success(claimed)
        answer.set()
        server.thaw()
        await server.logged("attempt", message=message.id, recorded=False)

        delivery = await client.delivery.get(message=message.id, endpoint=endpoint.id)
        assert delivery.status == DELIVERY_STATUS_SUCCEEDED
        attempts = [one async for one in client.attempt.list(application=application)]
        assert [one.response_status for one in attempts] == [299]
        # Nothing stays behind: the next message is delivered as usual.
        again = await client.message.create(application, event_type="a.b", payload={})
        while (await receiver.next_request()).header("webhook-id") != again.id:
            pass


def _freeze_between_transactions(server: ServerProcess) -> None:
    """Freezes the process at a moment at which it holds no lock on the database."""
    while True:
        server.freeze()
        # What is frozen gives nothing back, so there is nothing to wait for.
        with contextlib.closing(sqlite3.connect(_file(server), timeout=0)) as conn:
            try:
                conn.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                server.thaw()
            else:
                return
        with contextlib.closing(sqlite3.connect(_file(server), timeout=10)) as conn:
            # Frozen again at once, it would never come to the end of what it is at.
            conn.execute("BEGIN IMMEDIATE")


def _file(server: ServerProcess) -> str:
    return str(server.data_dir / "octohooks.db")


class _AnotherServer:
    """What a second server on the same database would do; one folder allows a second in no other
    way."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def claim_when_due(self) -> DueDelivery:
        while True:
            async with self._database.read() as conn:
                due_at = await claims.next_due_at(conn)
                choice = await DueChooser().choose(
                    conn, now=self._clock(), limit=1, may_claim=lambda endpoint_id: True
                )
            async with self._database.write() as conn:
                claimed = await claims.claim(
                    conn, choice.keys, now=self._clock(), lease=timedelta(seconds=60)
                )
            if claimed.deliveries:
                return claimed.deliveries[0]
            assert due_at is not None
            await asyncio.sleep(max((due_at - self._clock()).total_seconds(), 0))

    async def record_success(self, claimed: DueDelivery) -> None:
        fields: dict[str, Any] = {
            "started_at": self._clock(),
            "duration": timedelta(0),
            "succeeded": True,
            # A status that the receiver of the test never answers with.
            "response_status": 299,
            "response_headers": (),
            "response_body": b"",
            "response_body_truncated": False,
            "error_kind": 0,
            "error_detail": "",
            "retry_at": None,
            "endpoint_gone": False,
        }
        async with self._database.write() as conn:
            (recorded,) = await record_outcomes(
                conn,
                [Outcome(delivery=claimed, **fields)],
                now=self._clock(),
                ids=IdFactory(self._clock, lambda count: b"\xff" * count),
            )
        assert recorded.applied


@contextlib.asynccontextmanager
async def _another_server(server: ServerProcess) -> AsyncIterator[_AnotherServer]:
    database = open_database(f"sqlite:///{_file(server)}")
    try:
        yield _AnotherServer(database)
    finally:
        await database.close()
