"""What event types demand of new messages."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from octohooks.v1.message_pb2 import Message

from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.schema_threads import in_schema_thread
from octohooks_server.api.schemas import Schema
from octohooks_server.errors import FailedPrecondition, InvalidArgument
from octohooks_server.store import event_types
from octohooks_server.store.database import Database

# How long what was read is believed, so that changes made by other servers arrive.
_SECONDS_FRESH = 3.0
# What the cache may hold, counted in bytes of memory; a compiled schema takes about twenty times
# its text.
_MOST_BYTES = 64 * 1024 * 1024
_BYTES_PER_ENTRY = 1024
_BYTES_PER_SCHEMA_BYTE = 20

_Key = tuple[str, str]


@dataclass(slots=True)
class _Rules:
    """What is known of one event type; nothing is demanded when it is not described."""

    archived: bool = False
    schema_text: str | None = None
    schema: Schema | None = None
    fresh_until: float = 0.0

    @property
    def weight(self) -> int:
        return _BYTES_PER_ENTRY + _BYTES_PER_SCHEMA_BYTE * len(self.schema_text or "")


class EventTypeRules:
    """Checks new messages against their event types, which it remembers for a few seconds."""

    def __init__(
        self, dependencies: Dependencies, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database: Database = dependencies.database
        self._monotonic = monotonic
        # The longest unused one comes first.
        self._known: OrderedDict[_Key, _Rules] = OrderedDict()
        self._weight = 0
        self._reading: dict[_Key, asyncio.Task[_Rules]] = {}

    async def check(self, environment_id: str, message: Message, field: str) -> None:
        """Refuses a message that its event type does not allow; `field` is the way to it.

        FailedPrecondition for an archived event type. InvalidArgument for a payload that breaks the
        schema, when the environment enforces schemas; it names the place in the payload and holds
        none of its values. The payload must be JSON.
        """
        key = (environment_id, message.event_type)
        rules = self._fresh(key) or await self._read_together(key)
        if rules.archived:
            raise FailedPrecondition(
                f"The event type {message.event_type} is archived, so no new message may name it.",
                reason="EVENT_TYPE_ARCHIVED",
            )
        if rules.schema is None:
            return
        fault = rules.schema.fault_of(message.payload)
        if fault is not None:
            raise InvalidArgument.of(
                f"{field}.payload",
                f"The payload breaks the schema of {message.event_type}. {fault}",
                reason="PAYLOAD_BREAKS_SCHEMA",
            )

    def forget(self, environment_id: str) -> None:
        """Reads the event types and the settings of an environment anew, since some changed."""
        for key, rules in self._known.items():
            if key[0] == environment_id:
                rules.fresh_until = 0.0
        for key in [key for key in self._reading if key[0] == environment_id]:
            # What is being read may be from before the change.
            del self._reading[key]

    def _fresh(self, key: _Key) -> _Rules | None:
        known = self._known.get(key)
        if known is None or self._monotonic() >= known.fresh_until:
            return None
        self._known.move_to_end(key)
        return known

    async def _read_together(self, key: _Key) -> _Rules:
        # Whoever comes while it is read waits for the same reading.
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(self._read(key))
            self._reading[key] = reading
            reading.add_done_callback(lambda done: self._finish(key, done))
        # A caller that gives up leaves the reading to the others.
        return await asyncio.shield(reading)

    async def _read(self, key: _Key) -> _Rules:
        environment_id, name = key
        async with self._database.read() as conn:
            stored = await event_types.find_rules(conn, environment_id=environment_id, name=name)
        if stored is None:
            return _Rules()
        text = stored.enforced_schema
        known = self._known.get(key)
        if text is None:
            schema = None
        elif known is not None and known.schema_text == text:
            schema = known.schema
        else:
            schema = await in_schema_thread(Schema, text)
        return _Rules(stored.archived, text, schema)

    def _finish(self, key: _Key, reading: asyncio.Task[_Rules]) -> None:
        failed = reading.cancelled() or reading.exception() is not None
        if self._reading.get(key) is reading:
            del self._reading[key]
            if not failed:
                self._remember(key, reading.result())

    def _remember(self, key: _Key, rules: _Rules) -> None:
        rules.fresh_until = self._monotonic() + _SECONDS_FRESH
        earlier = self._known.pop(key, None)
        if earlier is not None:
            self._weight -= earlier.weight
        self._known[key] = rules
        self._weight += rules.weight
        while self._weight > _MOST_BYTES:
            _, unused = self._known.popitem(last=False)
            self._weight -= unused.weight
