"""What the watches of one environment share, so that a change costs each of them little."""

import asyncio

from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import Caller
from octohooks_server.errors import Unauthenticated
from octohooks_server.store.feed import Feed

# The answer about a key serves all of its watches for so long.
_ANSWER_SECONDS = 1.0


class WatchSignal:
    """One signal that the log has grown, that keys have changed, or that the server stops."""

    def __init__(
        self, feed: Feed, environment_id: str, authenticator: Authenticator, stopping: asyncio.Event
    ) -> None:
        self._feed = feed
        self._environment_id = environment_id
        self._authenticator = authenticator
        self._stopping = stopping
        self._next = asyncio.Event()
        self._task = asyncio.create_task(self._pass_on())

    def next(self) -> asyncio.Event:
        """An event that is set by the next change."""
        return self._next

    def close(self) -> None:
        """Ends it; nobody waits any more."""
        self._task.cancel()

    async def _pass_on(self) -> None:
        while not self._stopping.is_set():
            await _first_of(
                self._feed.next_change(self._environment_id),
                self._authenticator.next_change(),
                self._stopping,
            )
            self._next.set()
            if not self._stopping.is_set():
                self._next = asyncio.Event()


class KeyChecks:
    """Looks whether the keys of watches still work, once for all watches of a key."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._turn = asyncio.Lock()
        # Of keys that worked: what a change since then has set, and how long it is believed.
        self._live: dict[str | None, tuple[asyncio.Event, float]] = {}
        # Keys that have ended, which none takes back.
        self._ended: set[str | None] = set()

    async def require_live(self, caller: Caller) -> None:
        """Unauthenticated when the key that opened the watch was revoked or has expired."""
        clock = asyncio.get_running_loop().time
        key = caller.api_key_id
        async with self._turn:
            if key in self._ended:
                raise Unauthenticated
            if key in self._live:
                changed, until = self._live[key]
                if not changed.is_set() and clock() < until:
                    return
            changed, until = self._authenticator.next_change(), clock() + _ANSWER_SECONDS
            if not await self._authenticator.is_live(caller):
                self._ended.add(key)
                raise Unauthenticated
            self._live[key] = (changed, until)


async def _first_of(*signals: asyncio.Event) -> None:
    """Returns when one of the signals is set."""
    waits = [asyncio.ensure_future(signal.wait()) for signal in signals]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
