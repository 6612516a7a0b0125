"""What one server tells the others on its database, and what they make of it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from octohooks_server.store import relay
from octohooks_server.store.database import PostgresDatabase, open_database
from octohooks_server.store.relay import Hears, Relay

from tests.postgresql import Cluster
from tests.waiting import eventually


class Server:
    """One that writes down what it hears."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database
        self.relay = Relay(database)
        self.events: set[str] = set()
        self.recalled: set[str] = set()
        self.due = 0
        self.work = 0
        self.servers = 0
        self.hand_overs = 0
        self.offers = 0
        self.full: set[str] = set()
        self.caught_up = 0
        self.connections = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens while the block runs, and from its beginning on."""

        def note_due() -> None:
            self.due += 1

        def note_work() -> None:
            self.work += 1

        def note_servers() -> None:
            self.servers += 1

        def note_hand_overs() -> None:
            self.hand_overs += 1

        def note_offer(full: Collection[str]) -> None:
            self.offers += 1
            self.full.update(full)

        def note_gap() -> None:
            self.caught_up += 1

        def note_connection() -> None:
            self.connections += 1

        def hear(ids: Collection[str]) -> None:
            self.events.update(ids)

        hears = Hears(
            events=hear,
            recall=self.recalled.update,
            due=note_due,
            work=note_work,
            servers=note_servers,
            offer=note_offer,
            hand_overs=note_hand_overs,
            anything=note_gap,
            connected=note_connection,
        )
        task = asyncio.create_task(self.relay.run(hears))
        await eventually(self.is_listening)
        yield
        task.cancel()
        await asyncio.wait([task])

    async def is_listening(self) -> bool:
        return self.caught_up > 0


@pytest.fixture
async def url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    async with cluster.database() as url:
        yield url


@pytest.fixture
async def servers(url: str) -> AsyncIterator[tuple[Server, Server]]:
    """Two of them on one database."""
    made = [open_database(url), open_database(url)]
    one, other = (Server(one) for one in made if isinstance(one, PostgresDatabase))
    async with one.running(), other.running():
        yield one, other
    for database in made:
        await database.close()


async def test_the_others_hear_everything_that_is_told_and_the_teller_does_not(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    one.relay.tell_events(["env_1"])
    one.relay.tell_recall(["ep_1"])
    one.relay.tell_due()
    one.relay.tell_work()
    one.relay.tell_servers()
    one.relay.tell_hand_overs()
    one.relay.tell_offer(["ep_2"])

    async def has_heard() -> bool:
        flags = (other.due, other.work, other.servers, other.hand_overs, other.offers)
        return bool(other.events and other.recalled and all(flags))

    await eventually(has_heard)
    assert (other.events, other.recalled, other.full) == ({"env_1"}, {"ep_1"}, {"ep_2"})
    # What it told has come back to it by now, since all hear the same in the same order.
    other.relay.tell_due()

    async def has_been_answered() -> bool:
        return one.due > 0

    await eventually(has_been_answered)
    assert (one.events, one.recalled, one.due, one.work, one.servers) == (set(), set(), 1, 0, 0)
    assert (one.hand_overs, one.offers) == (0, 0)


async def test_more_than_fits_into_one_telling_is_told_in_several(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    environments = {f"env_{number:026}" for number in range(1_000)}
    endpoints = {f"ep_{number:026}" for number in range(1_000)}
    one.relay.tell_events(environments)
    one.relay.tell_recall(endpoints)
    one.relay.tell_offer(endpoints)

    async def has_heard_all() -> bool:
        return other.events == environments and other.recalled == other.full == endpoints

    await eventually(has_heard_all)


async def test_what_is_left_at_the_end_is_told_all_the_same(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    ended = Relay(one.database)
    ended.tell_recall(["ep_1"])

    await ended.settle()

    async def has_heard() -> bool:
        return other.recalled == {"ep_1"}

    await eventually(has_heard)


async def test_what_nobody_understands_makes_a_server_look_for_itself(
    servers: tuple[Server, Server],
) -> None:
    """A later release may tell other things."""
    one, other = servers
    before = other.caught_up
    await one.database.tell("something new")

    async def has_looked() -> bool:
        return other.caught_up > before

    await eventually(has_looked)
    # Were that told to others, two that do not understand each other would never stop.
    assert other.connections == 1


async def test_events_wait_for_one_another_and_go_with_what_does_not_wait(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = servers

    async def has_heard_first() -> bool:
        return other.events == {"env_1"}

    async def has_heard_both() -> bool:
        return other.events == {"env_1", "env_2"}

    monkeypatch.setattr(relay, "_LEAST_SECONDS_BETWEEN_EVENTS", 1_000.0)
    one.relay.tell_events(["env_1"])
    await eventually(has_heard_first)
    one.relay.tell_events(["env_2"])
    other.relay.tell_due()

    async def has_been_told_something_else() -> bool:
        return one.due > 0

    await eventually(has_been_told_something_else)
    assert await has_heard_first()
    one.relay.tell_due()
    await eventually(has_heard_both)


async def test_what_is_said_at_the_start_is_told_as_soon_as_a_server_listens(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_SECONDS_AFTER_A_FAILURE", 1_000.0)
    made = [open_database(url), open_database(url)]
    one, other = (Server(one) for one in made if isinstance(one, PostgresDatabase))
    async with other.running():
        one.relay.tell_offer([])
        # Whatever wants to run does so before there is a connection.
        await asyncio.sleep(0)
        async with one.running():

            async def has_heard() -> bool:
                return other.offers > 0

            await eventually(has_heard)
    for database in made:
        await database.close()
