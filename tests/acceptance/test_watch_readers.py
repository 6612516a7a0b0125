"""Watches that nobody reads cost little memory, and nobody else any time."""

import sys

import pytest
from octohooks import AsyncOctohooks, AsyncWatch
from octohooks.v1.attempt_service_pb2 import WatchAttemptsResponse

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.acceptance.memory import MEGABYTE, Memory
from tests.acceptance.unread import LONG_QUERY, unread_watches
from tests.receivers import Receiver, respond

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells memory")

_UNREAD = 100


class Sender:
    """Sends, and sees by a watch what came of it."""

    def __init__(self, client: AsyncOctohooks, watch: AsyncWatch) -> None:
        self._client = client
        self._watch = watch
        self.seen: list[str] = []

    async def many(self, count: int) -> None:
        """Returns once all have been seen, which a watch that is held up would not let happen."""
        for start in range(0, count, 100):
            some = min(100, count - start)
            await self._client.message.create_batch(
                [{"application": "shop", "event_type": "a.b", "payload": {}} for _ in range(some)]
            )
            self.seen += [one.id for one in await next_attempts(self._watch, some)]


@pytest.mark.timeout(180)
async def test_a_hundred_watches_that_nobody_reads_cost_bounded_memory_and_delay_nobody(
    start_server: StartServer,
) -> None:
    """While 2,000 attempts are recorded, whose events are 4 MB for each of these watches."""
    server = await start_server()
    async with (
        Receiver(respond(200, b"x" * 16_384)) as receiver,
        server.connect() as client,
        client.attempt.watch() as watch,
    ):
        await client.application.create(uid="shop")
        await client.endpoint.create("shop", url=receiver.url + LONG_QUERY)
        await watch.wait_until_live()
        sender = Sender(client, watch)
        await sender.many(300)
        memory = Memory(server.pid)
        from_here = len(sender.seen)
        async with unread_watches(server, _UNREAD) as calls:
            await sender.many(2_000)
            added = memory.most_added()

            # And whoever reads after all gets everything, in order.
            late: list[str] = []
            while len(late) < len(sender.seen) - from_here:
                response = await calls[0].read()
                assert isinstance(response, WatchAttemptsResponse)
                late += [event.attempt.id for event in response.events]
        listed = [one.id async for one in client.attempt.list(page_size=250)]
    assert sender.seen == listed[::-1]
    assert late == sender.seen[from_here : from_here + len(late)]
    # Unbounded, it would be 400 MB.
    assert added < 60 * MEGABYTE
    # That they have gone is nothing to tell of.
    assert "ExecuteBatchError" not in server.text()
