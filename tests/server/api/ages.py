"""Environments over long times."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from octohooks_server.store.tables import rounds

from tests.server.api.home import Home
from tests.server.api.serving import Clock, Server, Tenant, serving


class World:
    """An environment that is looked at again at later times, by starts of the server."""

    def __init__(self, home: Home, **settings: Any) -> None:
        """`settings` are those of the server."""
        self.home = home
        self.clock = Clock()
        self._settings = settings
        self._tenant: Tenant | None = None
        self._server: Server | None = None

    @asynccontextmanager
    async def at(self, days: float = 0, **settings: Any) -> AsyncIterator[Tenant]:
        """The environment after so much time; each start does all the upkeep that is due.

        `settings` are those of the environment, which the first call makes.
        """
        self.clock.advance(days=days)
        if self._tenant is not None:
            # Else a round that an earlier start left in the middle goes on from there.
            async with self.home.opened() as database, database.write() as conn:
                await conn.execute(rounds.delete())
        async with serving(self.home, clock=self.clock, **self._settings) as self._server:
            if self._tenant is None:
                self._tenant = await self._server.new_tenant(**settings)
                await self._tenant.octohooks.application.create(uid="acme")
            else:
                self._tenant = await self._server.tenant(self._tenant.id, self._tenant.key)
            yield self._tenant

    @property
    def server(self) -> Server:
        """The server that runs."""
        assert self._server is not None
        return self._server
