"""What servicers have in common, handed in by whoever puts the server together."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from octohooks_server.api.page_tokens import PageTokens
from octohooks_server.rules.ids import IdFactory
from octohooks_server.store.database import Database
from octohooks_server.store.feed import Feed


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The things that every servicer may need."""

    database: Database
    tokens: PageTokens
    ids: IdFactory
    clock: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    # Told about environments whose event log grew.
    feed: Feed
    # Called after a commit that left work for the background.
    wake_background: Callable[[], None]
    # Takes back what waits in memory for these endpoints, since they changed or ended.
    recall: Callable[[Collection[str]], None]
    # Called after a commit that made a delivery due.
    look_for_due: Callable[[], None]
    # Set when the server begins to stop; streams end then.
    stopping: asyncio.Event
