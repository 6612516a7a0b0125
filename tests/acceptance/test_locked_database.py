"""A database that is away for a while needs no restart and loses nothing."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterator

from octohooks import AsyncOctohooks, Unavailable
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_SUCCEEDED
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.acceptance.process import WITHOUT_RETRIES, ServerProcess
from tests.acceptance.receiving import answer_after
from tests.acceptance.refused_start import assert_start_refused
from tests.receivers import Receiver


@contextlib.contextmanager
def locked(server: ServerProcess) -> Iterator[None]:
    """While the block runs, another process holds the lock that each write needs."""
    file = server.data_dir / "octohooks.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_while_the_database_is_locked_calls_are_unavailable_and_no_outcome_is_lost(
    start_server: StartServer,
) -> None:
    server = await start_server()
    gate = asyncio.Event()
    async with (
        Receiver(answer_after(gate)) as receiver,
        # What a single call gets is to be seen; the client would repeat it by itself.
        server.connect(timeout=30, channel_options=[WITHOUT_RETRIES]) as client,
    ):
        application = (await client.application.create(name="A customer")).id
        await client.endpoint.create(application, url=receiver.url)
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            before = {(await _send(client, application)) for _ in range(10)}
            for _ in before:
                await receiver.next_request()
            with locked(server):
                # These outcomes come while they cannot be recorded.
                gate.set()
                refusals = await asyncio.gather(
                    _send(client, application),
                    client.application.create(name="Another customer"),
                    return_exceptions=True,
                )
                assert [type(refusal) for refusal in refusals] == [Unavailable] * 2
                # What only reads goes on.
                listed = [one.id async for one in client.message.list(application)]
                assert set(listed) == before
            recorded = await next_attempts(watch, len(before))
            assert {one.message for one in recorded} == before
            assert {one.outcome for one in recorded} == {ATTEMPT_OUTCOME_SUCCEEDED}

            after = await _send(client, application)
            (attempt,) = await next_attempts(watch, 1)
            assert attempt.message == after
        # Nothing of what was refused is there, and no request was made twice.
        assert {one.id async for one in client.message.list(application)} == before | {after}
        statuses = {one.status async for one in client.delivery.list(application=application)}
        assert statuses == {DELIVERY_STATUS_SUCCEEDED}
        assert len(receiver.requests) == len(before) + 1


async def test_calls_during_a_short_lock_are_answered_after_it(
    server: ServerProcess, client: AsyncOctohooks, application: str, receiver: Receiver
) -> None:
    await client.endpoint.create(application, url=receiver.url)
    with locked(server):
        sending = [asyncio.create_task(_send(client, application)) for _ in range(5)]
        # A read is answered after the writes have arrived, which then wait for the lock.
        await client.application.get(application)
        assert not any(task.done() for task in sending)
    sent = set(await asyncio.gather(*sending))
    assert {(await receiver.next_request()).header("webhook-id") for _ in sent} == sent


async def test_a_start_on_a_database_that_stays_locked_ends_with_a_sentence_and_harms_nothing(
    start_server: StartServer,
) -> None:
    server = await start_server()
    async with server.connect() as client:
        application = (await client.application.create(name="A customer")).id
    await server.stop()
    with locked(server):
        line = await asyncio.to_thread(
            assert_start_refused, server.data_dir, "OCTOHOOKS_DATA_DIR", os.EX_TEMPFAIL
        )
    assert "lock" in line
    await server.start()
    async with server.connect() as client:
        assert (await client.application.get(application)).id == application


async def _send(client: AsyncOctohooks, application: str) -> str:
    return (await client.message.create(application, event_type="a.b", payload={})).id
