"""What event types demand of new messages, and how long it is remembered."""

import asyncio
import os
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.message_pb2 import Message
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.page_tokens import PageTokens
from octohooks_server.api.seals import Seals
from octohooks_server.errors import FailedPrecondition, InvalidArgument, Unavailable
from octohooks_server.rules.ids import IdFactory
from octohooks_server.store import environments, event_types
from octohooks_server.store.database import Database
from octohooks_server.store.feed import Feed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = "env_here"


class World:
    """Event types in a database, and the rules that are made of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.seconds = 0.0
        self.reads = 0
        self.rules = self.another_server()

    def another_server(self) -> EventTypeRules:
        """Rules over the same database that remember for themselves."""

        def nothing(*ids: Collection[str]) -> None:
            return None

        dependencies = Dependencies(
            database=self.database,
            tokens=PageTokens(Seals(b"k" * 32)),
            ids=IdFactory(lambda: NOW, os.urandom),
            clock=lambda: NOW,
            random_bytes=os.urandom,
            feed=Feed(),
            wake_background=nothing,
            recall=nothing,
            look_for_due=nothing,
            stopping=asyncio.Event(),
        )
        return EventTypeRules(dependencies, monotonic=lambda: self.seconds)

    async def make_environment(self, id: str, **settings: Any) -> None:
        async with self.database.write() as conn:
            await environments.create(
                conn, id=id, environment=Environment(name=id, **settings), now=NOW
            )

    async def enforce(self, enforced: bool) -> None:
        async with self.database.write() as conn:
            await environments.store_update(
                conn, id=HERE, environment=Environment(enforce_schemas=enforced), now=NOW
            )

    async def describe(self, name: str = "paid", *, where: str = HERE, **values: Any) -> None:
        event_type = EventType(name=name, **values)
        async with self.database.write() as conn:
            known = await event_types.find(conn, environment_id=where, name=name)
            store = event_types.create if known is None else event_types.store_update
            await store(conn, environment_id=where, event_type=event_type, now=NOW)

    async def check(
        self, payload: bytes = b"{}", *, name: str = "paid", where: str = HERE
    ) -> str | None:
        """The reason why a message is refused, or None."""
        try:
            await self.rules.check(where, Message(event_type=name, payload=payload), "message")
        except (FailedPrecondition, InvalidArgument) as error:
            return error.reason
        return None


@pytest.fixture
async def world(database: Database) -> World:
    world = World(database)
    await world.make_environment(HERE, enforce_schemas=True)
    return world


async def test_a_message_of_an_event_type_that_nobody_described_is_fine(world: World) -> None:
    assert await world.check(name="unknown") is None


async def test_a_message_of_an_archived_event_type_is_refused(world: World) -> None:
    await world.describe(archived=True)
    await world.enforce(False)

    assert await world.check() == "EVENT_TYPE_ARCHIVED"
    assert await world.check(name="other") is None


async def test_a_payload_that_breaks_the_schema_is_refused_with_its_place(world: World) -> None:
    await world.describe(schema='{"properties": {"lines": {"items": {"type": "integer"}}}}')
    message = Message(event_type="paid", payload=b'{"lines": [1, "secret"]}')

    with pytest.raises(InvalidArgument) as raised:
        await world.rules.check(HERE, message, "messages[3]")

    assert raised.value.reason == "PAYLOAD_BREAKS_SCHEMA"
    ((field, description),) = raised.value.violations
    assert field == "messages[3].payload"
    assert "At /lines/1," in description
    assert "secret" not in description
    assert await world.check(b'{"lines": [1, 2]}') is None


async def test_schemas_document_only_unless_the_environment_enforces_them(world: World) -> None:
    await world.describe(schema="false")
    await world.enforce(False)

    assert await world.check() is None


async def test_event_types_of_other_environments_do_not_matter(world: World) -> None:
    await world.make_environment("env_there", enforce_schemas=True)
    await world.describe(where="env_there", schema="false")

    assert await world.check() is None
    assert await world.check(where="env_there") == "PAYLOAD_BREAKS_SCHEMA"


async def test_what_was_forgotten_is_read_anew(world: World) -> None:
    assert await world.check() is None

    await world.describe(schema="false")
    world.rules.forget(HERE)
    assert await world.check() == "PAYLOAD_BREAKS_SCHEMA"

    await world.enforce(False)
    world.rules.forget(HERE)
    assert await world.check() is None


async def test_forgetting_one_environment_leaves_the_others_remembered(world: World) -> None:
    await world.make_environment("env_there", enforce_schemas=True)
    assert await world.check(where="env_there") is None
    await world.describe(where="env_there", schema="false")

    world.rules.forget(HERE)

    assert await world.check(where="env_there") is None


async def test_changes_of_other_servers_arrive_within_seconds(world: World) -> None:
    assert await world.check() is None
    await world.describe(schema="false")

    assert await world.check() is None
    world.seconds += 5
    assert await world.check() == "PAYLOAD_BREAKS_SCHEMA"


async def test_a_change_during_a_reading_is_not_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the change must not be remembered after it."""
    has_read, go_on = asyncio.Event(), asyncio.Event()
    find_rules = event_types.find_rules

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        found = await find_rules(*args, **kwargs)
        has_read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(event_types, "find_rules", slowly)
    early = asyncio.create_task(world.check())
    await has_read.wait()
    await world.describe(schema="false")
    world.rules.forget(HERE)
    go_on.set()

    assert await early is None
    assert await world.check() == "PAYLOAD_BREAKS_SCHEMA"


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the event types that were read from the database."""
    names: list[str] = []
    find_rules = event_types.find_rules

    async def counted(*args: Any, name: str, **kwargs: Any) -> Any:
        names.append(name)
        return await find_rules(*args, name=name, **kwargs)

    monkeypatch.setattr(event_types, "find_rules", counted)
    return names


async def test_messages_that_come_together_share_one_reading(
    world: World, readings: list[str]
) -> None:
    await asyncio.gather(*(world.check() for _ in range(100)))
    await world.check(name="other")

    assert readings == ["paid", "other"]


async def test_a_caller_that_gives_up_leaves_the_reading_to_the_others(
    world: World, readings: list[str]
) -> None:
    await world.describe(schema="false")
    first = asyncio.create_task(world.check())
    second = asyncio.create_task(world.check())
    await asyncio.sleep(0)

    first.cancel()

    assert await second == "PAYLOAD_BREAKS_SCHEMA"
    assert readings == ["paid"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_reading_that_failed_is_not_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any, **kwargs: Any) -> Any:
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patched:
        patched.setattr(event_types, "find_rules", away)
        with pytest.raises(Unavailable):
            await world.check()

    assert await world.check() is None


async def test_a_schema_that_stayed_the_same_is_not_compiled_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.describe(schema="false")
    assert await world.check() == "PAYLOAD_BREAKS_SCHEMA"

    def compile(text: str) -> Any:
        raise AssertionError(f"compiled again: {text}")

    monkeypatch.setattr("octohooks_server.api.event_type_rules.Schema", compile)
    world.seconds += 60
    assert await world.check() == "PAYLOAD_BREAKS_SCHEMA"


async def test_memory_is_bounded_and_what_was_used_last_is_kept(
    world: World, readings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octohooks_server.api.event_type_rules._MOST_BYTES", 3 * 1024)
    for name in ("a", "b", "c", "a", "d"):
        assert await world.check(name=name) is None
    readings.clear()

    for name in ("a", "c", "d", "b"):
        assert await world.check(name=name) is None

    assert readings == ["b"]
