"""A start with a million due deliveries: soon ready, in bounded memory, and open for new ones."""

import asyncio
from datetime import UTC, datetime

import pytest
from octohooks import AsyncOctohooks
from octohooks_server.store.columns import to_microseconds

from tests.acceptance.backlog import leave_due
from tests.acceptance.conftest import StartServer
from tests.acceptance.memory import MEGABYTE, added_less_than
from tests.receivers import Receiver

ENDPOINTS = 500
MESSAGES = 2_000
# An idle machine needs three, a busy one many more; whoever reads all that is due needs minutes.
_SECONDS_TO_START = 60


async def endpoints_at(client: AsyncOctohooks, url: str, count: int = 1) -> str:
    """A new application with so many endpoints."""
    application = (await client.application.create()).id
    for start in range(0, count, 50):
        await asyncio.gather(
            *(client.endpoint.create(application, url=url) for _ in range(min(50, count - start)))
        )
    return application


# Seconds; about 20 on an idle machine, most of them for writing a million rows.
@pytest.mark.timeout(240)
async def test_a_start_with_a_million_due_deliveries_is_ready_soon_and_new_messages_pass_them_by(
    start_server: StartServer,
) -> None:
    """New ones for an endpoint that the server has not tried yet, and for one that it has.

    The endpoints of the backlog are as many as there are places, and all of them answer at once.
    """
    server = await start_server()
    async with Receiver() as busy, Receiver() as receiver:
        async with server.connect() as client:
            backlog = await endpoints_at(client, busy.url, ENDPOINTS)
            new = await endpoints_at(client, receiver.url)
        await server.stop()
        due = leave_due(
            server.data_dir,
            application=backlog,
            messages=MESSAGES,
            now=to_microseconds(datetime.now(UTC)),
        )
        assert due == 1_000_000

        async with asyncio.timeout(_SECONDS_TO_START):
            await server.start()
        async with server.connect() as client:
            # A delivery of the backlog takes about a kilobyte; all of them, a gigabyte.
            with added_less_than(64 * MEGABYTE, server.pid):
                while len(busy.requests) < 2_000:
                    await busy.next_request()
                for _ in range(10):
                    before = len(busy.requests)
                    message = await client.message.create(new, event_type="a.b", payload={})
                    assert (await receiver.next_request()).header("webhook-id") == message.id
                    # What went out meanwhile is a few rounds of the 500 places, and no backlog.
                    assert len(busy.requests) - before < 5_000
            waiting = client.delivery.list(application=backlog, statuses=["pending"])
            assert (await anext(aiter(waiting))).application == backlog
        assert await server.stop() == 0
