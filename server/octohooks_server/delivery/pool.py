"""Connections that are kept for the next exchange, and the bound on how many are in use."""

import asyncio
from collections import OrderedDict

from octohooks_server.delivery.connection import Connection
from octohooks_server.delivery.dialling import Dialler, Route

# Receivers commonly close a connection that idles for 5 seconds. One that is closed just as it is
# used again costs a failed attempt, since a POST is not repeated by itself.
_KEPT_SECONDS = 4.0


class Pool:
    """Hands out connections, to each exchange one that nobody else uses."""

    def __init__(self, dialler: Dialler, max_connections: int) -> None:
        """At most `max_connections` are in use at a time, and as many are kept beside them."""
        self._dialler = dialler
        self._max_connections = max_connections
        self._free = asyncio.Semaphore(max_connections)
        self._loop = asyncio.get_running_loop()
        # Those that are kept: of each route, the newest last; and all, by the time they are from.
        self._kept: dict[Route, dict[Connection, None]] = {}
        self._kept_since: OrderedDict[Connection, tuple[Route, float]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, route: Route, *, deadline: float) -> Connection:
        """A connection, kept or new; give it back. Waits until the loop's time is `deadline`.

        Raises:
            ExchangeFailed: no connection could be made.
            TimeoutError: it could not be made in time.
        """
        if not self._free.locked():
            await self._free.acquire()
        else:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        try:
            connection = self._take_kept(route)
            if connection is None:
                async with asyncio.timeout_at(deadline):
                    connection = await self._dialler.dial(route, deadline=deadline)
        except BaseException:
            self._free.release()
            raise
        return connection

    def give_back(self, route: Route, connection: Connection) -> None:
        """Keeps a connection for the next exchange, if it can have one."""
        self._free.release()
        if self._closed or not connection.is_kept:
            connection.close()
            return
        self._kept.setdefault(route, {})[connection] = None
        self._kept_since[connection] = (route, self._loop.time())
        if len(self._kept_since) > self._max_connections:
            self._close_oldest()
        if self._timer is None:
            self._timer = self._loop.call_later(_KEPT_SECONDS, self._close_old)

    def close(self) -> None:
        """Closes those that are kept, and from now on each that is given back."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._kept_since:
            self._close_oldest()

    def _take_kept(self, route: Route) -> Connection | None:
        kept = self._kept.get(route)
        while kept:
            connection, _ = kept.popitem()
            del self._kept_since[connection]
            if not kept:
                del self._kept[route]
            if connection.is_kept and connection.is_quiet():
                return connection
            connection.close()
        return None

    def _close_oldest(self) -> None:
        connection, (route, _) = self._kept_since.popitem(last=False)
        kept = self._kept[route]
        del kept[connection]
        if not kept:
            del self._kept[route]
        connection.close()

    def _close_old(self) -> None:
        self._timer = None
        while self._kept_since:
            _, since = next(iter(self._kept_since.values()))
            ends_at = since + _KEPT_SECONDS
            if ends_at > self._loop.time():
                self._timer = self._loop.call_at(ends_at, self._close_old)
                return
            self._close_oldest()
