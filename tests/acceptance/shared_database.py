"""Several servers on one PostgreSQL database, and an application that all of them send for."""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from octohooks import AsyncOctohooks, Unavailable
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED
from octohooks.v1.message_pb2 import Message

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import OPERATOR_KEY, ServerProcess
from tests.receivers import Receiver


class Fleet:
    """Servers on one database, and an environment with an application in it."""

    def __init__(self, servers: Sequence[ServerProcess], api_key: str, receiver: Receiver) -> None:
        self.servers = servers
        self.api_key = api_key
        self.receiver = receiver
        self.accepted: set[str] = set()

    @asynccontextmanager
    async def client(self, server: ServerProcess) -> AsyncIterator[AsyncOctohooks]:
        """A client of one of the servers."""
        async with server.connect(self.api_key) as client:
            yield client

    async def publish(self, count: int, servers: Iterable[ServerProcess] | None = None) -> None:
        """Sends so many messages in all, to all servers at the same time unless told to some."""
        used = list(servers or self.servers)
        shares = [count // len(used)] * len(used)
        shares[0] += count - sum(shares)
        await asyncio.gather(*map(self._publish_to, used, shares))

    async def _publish_to(self, server: ServerProcess, count: int) -> None:
        async with self.client(server) as client:
            message = {"application": "fleet", "event_type": "a.b", "payload": {}}
            for start in range(0, count, 100):
                some: list[Any] = [message] * min(100, count - start)
                for result in await _sent(client, some):
                    assert isinstance(result, Message), result
                    self.accepted.add(result.id)

    async def until_all_is_delivered(self) -> None:
        """Returns once every message that was accepted has arrived."""
        missing = self.accepted - set(self.arrivals())
        while missing:
            request = await self.receiver.next_request()
            missing.discard(request.header("webhook-id"))

    def arrivals(self) -> Counter[str]:
        """How often each message has arrived."""
        return Counter(request.header("webhook-id") for request in self.receiver.requests)

    async def until_all_is_recorded(self, server: ServerProcess) -> None:
        """Returns once a server knows of every message that it has succeeded."""
        async with self.client(server) as client, client.attempt.watch() as watch:
            await watch.wait_until_live()
            pending = {
                one.message
                async for one in client.delivery.list(statuses=["pending"], page_size=250)
            }
            while pending:
                attempt = (await anext(watch)).attempt
                if attempt.delivery_status == DELIVERY_STATUS_SUCCEEDED:
                    pending.discard(attempt.message)


async def _sent(client: AsyncOctohooks, messages: list[Any]) -> Sequence[object]:
    """Sends a batch, however long the database is away; its key makes a repetition harmless."""
    key = uuid.uuid4().hex
    while True:
        with contextlib.suppress(Unavailable):
            return await client.message.create_batch(messages, idempotency_key=key)


@asynccontextmanager
async def fleet(
    start_server: StartServer, database_url: str, count: int, **settings: str
) -> AsyncIterator[Fleet]:
    """So many servers on a database, all started at the same time."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        servers = await asyncio.gather(
            *(start_server(database_url=database_url, **settings) for _ in range(count))
        )
        async with servers[0].connect(OPERATOR_KEY) as operator:
            environment = await operator.environment.create(name="A fleet's")
            key = await operator.api_key.create(environment=environment.id)
        made = Fleet(servers, key.key, receiver)
        async with made.client(servers[0]) as client:
            await client.application.create(uid="fleet")
            await client.endpoint.create("fleet", url=receiver.url, retry_schedule=[0, *[1] * 9])
        yield made
