"""Carries wake-ups between the servers that share a database."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import orjson
import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.store.database import PostgresDatabase

log = structlog.get_logger()

# What comes together within this time is told together: telling takes a lock of the whole database
# for a moment.
_SECONDS_BETWEEN_TELLINGS = 0.01
_SECONDS_AFTER_A_FAILURE = 1.0
# PostgreSQL takes 8,000 bytes; an ID has about 30.
_MOST_IDS = 200


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
    # A server that delivers has come or gone.
    servers: Callable[[], None]
    # Any of these may have been missed.
    anything: Callable[[], None]


class Relay:
    """Tells other servers what was committed here, and hears what was committed there.

    A wake-up may be lost with a connection; whoever depends on it looks by itself now and then.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._me = uuid4().hex
        self._events: set[str] = set()
        self._recalled: set[str] = set()
        self._due = False
        self._work = False
        self._servers = False
        self._wake = asyncio.Event()

    def tell_events(self, environment_ids: Collection[str]) -> None:
        """Says that environments have new events."""
        self._events.update(environment_ids)
        self._wake.set()

    def tell_recall(self, endpoint_ids: Collection[str]) -> None:
        """Says that endpoints were changed or have ended."""
        if endpoint_ids:
            self._recalled.update(endpoint_ids)
            self._wake.set()

    def tell_due(self) -> None:
        """Says that deliveries were made due."""
        self._due = True
        self._wake.set()

    def tell_work(self) -> None:
        """Says that there is work for the background."""
        self._work = True
        self._wake.set()

    def tell_servers(self) -> None:
        """Says that this server has come or gone."""
        self._servers = True
        self._wake.set()

    async def run(self, hears: Hears) -> None:
        """Tells and hears until it is cancelled."""
        telling = asyncio.create_task(self._tell())
        try:
            await self._database.listen(lambda text: self._hear(text, hears), hears.anything)
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._tell_some()
            except Exception as error:
                if not isinstance(error, OctohooksError):
                    log.error("relay_failed", exc_info=error)
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)
            await asyncio.sleep(_SECONDS_BETWEEN_TELLINGS)

    async def settle(self) -> None:
        """After `run`: tells what is left, or raises what keeps it from being told."""
        while self._wake.is_set():
            await self._tell_some()

    async def _tell_some(self) -> None:
        """Tells as much as fits into one message; it is left for later where that fails."""
        self._wake.clear()
        events, recalled = _take(self._events), _take(self._recalled)
        due, work, servers = self._due, self._work, self._servers
        self._due = self._work = self._servers = False
        if self._events or self._recalled:
            self._wake.set()
        try:
            await self._database.tell(
                self._text(events, recalled, due=due, work=work, servers=servers)
            )
        except BaseException:
            # Nobody looks for a recall by themselves, so it is told once the database is back.
            self._events.update(events)
            self._recalled.update(recalled)
            self._due, self._work = self._due or due, self._work or work
            self._servers = self._servers or servers
            self._wake.set()
            raise

    def _text(self, events: list[str], recalled: list[str], **flags: bool) -> str:
        told = {
            "from": self._me,
            "events": events,
            "recall": recalled,
            **flags,
        }
        return orjson.dumps(told).decode()

    def _hear(self, text: str, hears: Hears) -> None:
        try:
            told = orjson.loads(text)
            if told["from"] == self._me:
                return
            hears.events(told["events"])
            hears.recall(told["recall"])
            if told["due"]:
                hears.due()
            if told["work"]:
                hears.work()
            if told["servers"]:
                hears.servers()
        except (ValueError, KeyError, TypeError):
            # Told by another release, perhaps.
            log.warning("relay_not_understood")
            hears.anything()


def _take(ids: set[str]) -> list[str]:
    """As many of them as fit; the rest is left for the next time."""
    return [ids.pop() for _ in range(min(len(ids), _MOST_IDS // 2))]
