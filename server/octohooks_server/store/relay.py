"""Carries wake-ups between the servers that share a database."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.store.database import PostgresDatabase

log = structlog.get_logger()

# What comes together is told together: telling takes a lock of the whole database for a moment,
# and work of everybody who hears it. Events alone, which watches wait for, are told less often.
_LEAST_SECONDS_BETWEEN_TELLINGS = 0.01
_LEAST_SECONDS_BETWEEN_EVENTS = 0.05
_SECONDS_AFTER_A_FAILURE = 1.0
# How many IDs of a kind fit into one message, of which PostgreSQL takes 8,000 bytes; one has 30.
_MOST = {"events": 75, "recall": 75, "full": 75}


@dataclass(frozen=True, slots=True)
class Hears:
    """What a server does when another one tells it something."""

    # Environments have new events.
    events: Callable[[Collection[str]], None]
    # What waits in memory for these endpoints is to be given back.
    recall: Callable[[Collection[str]], None]
    # Deliveries were made due.
    due: Callable[[], None]
    # There is work for the background.
    work: Callable[[], None]
    # A server has come, or one that delivers has gone.
    servers: Callable[[], None]
    # A server takes hand-overs, but just had no room for these endpoints.
    offer: Callable[[Collection[str]], None]
    # Hand-overs were left for whoever takes them.
    hand_overs: Callable[[], None]
    # Any of these may have been missed.
    anything: Callable[[], None]
    # From now on others hear what is told, and this server hears them.
    connected: Callable[[], None]


class Relay:
    """Tells other servers what was committed here, and hears what was committed there.

    A wake-up may be lost with a connection; whoever depends on it looks by itself now and then.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._me = uuid4().hex
        self._ids: dict[str, set[str]] = {kind: set() for kind in _MOST}
        self._flags: set[str] = set()
        self._wake = asyncio.Event()
        # Set by all that is told but events.
        self._is_urgent = asyncio.Event()
        # Held by who tells, so that whoever waits for it knows that nothing is on its way.
        self._telling = asyncio.Lock()

    def tell_events(self, environment_ids: Collection[str]) -> None:
        """Says that environments have new events."""
        self._ids["events"].update(environment_ids)
        self._wake.set()

    def tell_recall(self, endpoint_ids: Collection[str]) -> None:
        """Says that endpoints were changed or have ended."""
        if endpoint_ids:
            self._ids["recall"].update(endpoint_ids)
            self._wake_at_once()

    def tell_due(self) -> None:
        """Says that deliveries were made due."""
        self._raise("due")

    def tell_work(self) -> None:
        """Says that there is work for the background."""
        self._raise("work")

    def tell_servers(self) -> None:
        """Says that this server has come, or goes and has delivered."""
        self._raise("servers")

    def tell_offer(self, full: Collection[str]) -> None:
        """Says that this server takes hand-overs, but had no room for these endpoints."""
        self._ids["full"].update(full)
        self._raise("offer")

    def tell_hand_overs(self) -> None:
        """Says that hand-overs were left for whoever takes them."""
        self._raise("hand_overs")

    def _raise(self, flag: str) -> None:
        self._flags.add(flag)
        self._wake_at_once()

    def _wake_at_once(self) -> None:
        self._is_urgent.set()
        self._wake.set()

    async def run(self, hears: Hears) -> None:
        """Tells and hears until it is cancelled."""
        listening = asyncio.Event()

        def connected() -> None:
            listening.set()
            hears.connected()
            hears.anything()

        telling = asyncio.create_task(self._tell(listening))
        try:
            await self._database.listen(lambda text: self._hear(text, hears), connected)
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def _tell(self, listening: asyncio.Event) -> None:
        # Before, what was said at the start would fail, and be told a second later.
        await listening.wait()
        while True:
            await self._wake.wait()
            try:
                async with self._telling:
                    await self._tell_next()
            except Exception as error:
                if not isinstance(error, OctohooksError):
                    log.error("relay_failed", exc_info=error)
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAST_SECONDS_BETWEEN_EVENTS):
                    await asyncio.sleep(_LEAST_SECONDS_BETWEEN_TELLINGS)
                    await self._is_urgent.wait()

    async def settle(self) -> None:
        """Tells what is left, or raises what keeps it from being told."""
        async with self._telling:
            while self._wake.is_set():
                await self._tell_next()

    async def _tell_next(self) -> None:
        """Tells as much as fits into one message; it is left for later where that fails."""
        self._wake.clear()
        self._is_urgent.clear()
        ids = {kind: _take(left, _MOST[kind]) for kind, left in self._ids.items()}
        # An offer goes with each of the messages that its endpoints take.
        flags, self._flags = self._flags, {"offer"} if self._ids["full"] else set()
        if any(self._ids.values()):
            self._wake_at_once()
        told = {"from": self._me, **ids, "flags": sorted(flags)}
        try:
            await self._database.tell(orjson.dumps(told).decode())
        except BaseException:
            # Nobody looks for a recall by themselves, so it is told once the database is back.
            for kind, of_kind in ids.items():
                self._ids[kind].update(of_kind)
            self._flags |= flags
            self._wake_at_once()
            raise

    def _hear(self, text: str, hears: Hears) -> None:
        try:
            told = orjson.loads(text)
            if told["from"] == self._me:
                return
            self._pass_on(told, hears)
        except (ValueError, KeyError, TypeError):
            # Told by another release, perhaps.
            log.warning("relay_not_understood")
            hears.anything()

    def _pass_on(self, told: Any, hears: Hears) -> None:
        hears.events(told["events"])
        hears.recall(told["recall"])
        does: dict[str, Callable[[], None]] = {
            "due": hears.due,
            "work": hears.work,
            "servers": hears.servers,
            "hand_overs": hears.hand_overs,
            "offer": lambda: hears.offer(told["full"]),
        }
        for flag in told["flags"]:
            does[flag]()


def _take(ids: set[str], most: int) -> list[str]:
    """As many of them as fit; the rest is left for the next time."""
    return [ids.pop() for _ in range(min(len(ids), most))]
