"""Servers in this process, and environments in them for tests to work in."""

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
from octohooks import AsyncOctohooks
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import CreateEnvironmentRequest
from octohooks_server.serve import Running, running
from octohooks_server.settings import Settings
from octohooks_server.store.database import Database

from tests.server.api.calls import Api
from tests.server.api.home import Home

# For a call, of which a busy machine may need many.
_SECONDS = 50
_LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))


class Clock:
    """A clock that tests set; between two readings of it a microsecond passes."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def advance(self, **by: float) -> None:
        """Lets time pass at once; takes what `timedelta` takes."""
        self._now += timedelta(**by)


@dataclass(frozen=True)
class Tenant:
    """An environment, in the hands of somebody with a key of it."""

    id: str
    key: str
    api: Api
    octohooks: AsyncOctohooks


class Server:
    """A server that runs, in the hands of its operator."""

    def __init__(
        self,
        address: str,
        operator_key: str,
        home: Home,
        database: Database,
        channel: grpc.aio.Channel,
        stack: AsyncExitStack,
        running: Running,
    ) -> None:
        self.running = running
        self.address = address
        self.operator_key = operator_key
        self.home = home
        # What it stores, behind its back.
        self.database = database
        self._channel = channel
        self._stack = stack
        self.operator = self.api(operator_key)

    def api(self, key: str | None) -> Api:
        """The API for whoever holds this key."""
        return Api(self._channel, key)

    async def new_key(self, environment_id: str) -> str:
        """A new key of an environment."""
        made = await self.operator(CreateApiKeyRequest(environment=environment_id))
        return str(made.key)

    async def new_tenant(self, **settings: Any) -> Tenant:
        """A new environment with these settings, and a key of it."""
        environment = Environment(**{"name": "A test's own", **settings})
        made = await self.operator(CreateEnvironmentRequest(environment=environment))
        return await self.tenant(made.environment.id, await self.new_key(made.environment.id))

    async def tenant(self, environment_id: str, key: str) -> Tenant:
        """Whoever holds this key of an environment."""
        octohooks = AsyncOctohooks(key, target=self.address, timeout=_SECONDS)
        await self._stack.enter_async_context(octohooks)
        return Tenant(environment_id, key, self.api(key), octohooks)


@asynccontextmanager
async def serving(
    home: Home, *, clock: Callable[[], datetime] | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server that lives somewhere, which may send to loopback, while the block runs."""
    given: dict[str, Any] = {
        **home.settings,
        "listen": "127.0.0.1:0",
        "allowed_subnets": _LOOPBACK,
        **settings,
    }
    async with (
        running(Settings(**given), clock=clock) as server,
        grpc.aio.insecure_channel(server.address) as channel,
        home.opened() as database,
        AsyncExitStack() as stack,
    ):
        yield Server(server.address, server.operator_key, home, database, channel, stack, server)
