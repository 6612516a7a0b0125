"""Each statement on the way of a message names the environment that it is about.

So the tables can be spread over several nodes by it: the statement says which of them to ask, and
what it joins is on the same one.
"""

import re
from typing import Any

from octohooks.v1.application_pb2 import Application
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import (
    applications,
    attempts,
    backlog,
    claims,
    deliveries,
    endpoint_secrets,
    endpoints,
    messages,
    retirement,
)
from octohooks_server.store.deliveries import Scope
from octohooks_server.store.idempotency import KeyedRequest
from octohooks_server.store.messages import MessageFilter

from tests.server.store.statements import statements_of_the_store
from tests.server.store.world import World

SPREAD = {
    "messages",
    "deliveries",
    "attempts",
    "cancellations",
    "endpoints",
    "endpoint_secrets",
    "applications",
}

# Statements that are about all environments, by how they find their rows. Each node is asked.
ABOUT_ALL = {
    "when something falls due next, of whatever environment": (
        r"^SELECT min\(deliveries\.due_at\)[^(]+WHERE deliveries\.due_at IS NOT NULL$"
    ),
    "what is due, which tells the environment": (
        r"^SELECT deliveries\.environment_id, .+ WHERE deliveries\.due_at <= .+ ORDER BY"
    ),
    "the endpoints in turn for which something is due, which tells their environments": (
        r"^WITH RECURSIVE queue\("
    ),
    "how much is due, for whoever observes a server": r"^SELECT count\(\*\).+deliveries\.due_at <=",
    "whether an endpoint is to be retired, and which one": r"WHERE endpoints\.retire_reason != 0",
}


async def test_each_statement_on_the_way_of_a_message_names_its_environment(world: World) -> None:
    application = await world.application("acme")
    endpoint = await world.endpoint(application)
    async with world.database.write() as conn:
        owner = await applications.ensure_operational(
            conn,
            environment_id=world.environment_id,
            new_id=world.ids.new(APPLICATION),
            now=world.now,
        )
    await world.endpoint(owner)
    short_lived = await world.endpoint(await world.application("short-lived"))
    with statements_of_the_store() as seen:
        await accept(world)
        await deliver(world)
        await end(world, short_lived)
        await send_again_and_read(world, application, endpoint)
    statements = [" ".join(statement.split()) for statement in seen]
    about_all = {
        reason: [one for one in statements if re.search(pattern, one)]
        for reason, pattern in ABOUT_ALL.items()
    }
    assert all(about_all.values()), about_all
    excepted = {statement for found in about_all.values() for statement in found}
    problems = {one: problem(one) for one in statements if one not in excepted}
    assert not {statement: found for statement, found in problems.items() if found}
    assert {table for one in problems for table in tables(one)} >= SPREAD


async def accept(world: World) -> None:
    await world.accept(
        world.draft("acme"),
        world.draft("acme", uid="own"),
        world.draft("acme", keyed=KeyedRequest(world.environment_id, b"k" * 32, b"r" * 32)),
        world.draft(
            "new", inline_application=Application(id=world.ids.new(APPLICATION), uid="new")
        ),
    )


async def deliver(world: World) -> None:
    await world.send("acme", 30)
    async with world.database.read() as conn:
        await claims.next_due_at(conn)
        await backlog.count_due(conn, now=world.now, most=100)
    # Fewer than are due, and then those that wait behind endpoints that have no room.
    few = (await world.claim(limit=10)).deliveries
    await world.claim(limit=5, room=lambda endpoint: 0)
    async with world.database.write() as conn:
        await claims.give_back(conn, few[2:], due_at=world.now)
    # The endpoint begins to fail, and recovers.
    await world.record(world.outcome(few[0], 500))
    recorded = await world.record(world.outcome(few[1], 200))
    assert [one.applied for one in recorded] == [True]


async def end(world: World, endpoint: str) -> None:
    await world.send("short-lived", 5)
    (claimed,) = (await world.claim(limit=1, room=lambda id: int(id == endpoint))).deliveries
    assert (await world.record_one(world.outcome(claimed, 410))).notified
    # What is found to wait for it is cancelled, and then the rest.
    found = await world.claim(limit=1, room=lambda id: int(id == endpoint))
    assert found.changed_environments == {world.environment_id}
    async with world.database.write() as conn:
        assert await retirement.is_due(conn)
        assert await retirement.continue_one(conn, now=world.now) == world.environment_id


async def send_again_and_read(world: World, application: str, endpoint: str) -> None:
    (message,) = await world.send("acme")
    of_environment = {"environment_id": world.environment_id}
    of_delivery = {**of_environment, "message_id": message, "endpoint_id": endpoint}
    async with world.database.write() as conn:
        for getting, reference in ((messages.get_id, message), (endpoints.get_known_id, endpoint)):
            await getting(conn, **of_environment, application_id=application, reference=reference)
        await deliveries.request_attempt(conn, **of_delivery, now=world.now)
        key = (world.environment_id, message, endpoint)
        await deliveries.restart(conn, keys=[key], now=world.now)
        await deliveries.get(conn, **of_delivery)
        await endpoint_secrets.live_of(conn, endpoint, **of_environment, now=world.now)
        listed: dict[str, Any] = {
            "scope": Scope(world.environment_id, application, message, endpoint),
            "matching": MessageFilter(channels=["c"]),
            "before": None,
            "limit": 10,
        }
        await deliveries.list_page(conn, **listed, statuses=())
        await attempts.list_page(conn, **listed, outcomes=())
        await attempts.read_events(conn, **of_environment, after=0, limit=10)
        await attempts.position_before(conn, **of_environment, time=world.now, oldest=0, newest=10)


# `new` is what a statement itself lists.
_TOLD = r"{0}\.environment_id (?:(?:=|= ANY \(|IN \(SELECT value FROM json_each\() ?[?$]|= new\.)"
_SAME = r"{0}\.environment_id = \+?\w+\.environment_id|\.environment_id = \+?{0}\.environment_id"


def problem(statement: str) -> str | None:
    """What keeps a statement from being sent to the nodes of its environments alone."""
    for table, columns in re.findall(r"INSERT INTO (\w+) \(([^)]*)\)", statement):
        if table in SPREAD and "environment_id" not in columns:
            return f"{table} gets rows without an environment"
    names = tables(statement)
    conditions = " ".join(re.split(r"\b(?:WHERE|ON)\b", statement)[1:])
    told = {table for table in names if re.search(_TOLD.format(table), conditions)}
    same = {table for table in names if re.search(_SAME.format(table), conditions)}
    left = names - told - same
    if left:
        return f"{left} are looked into in whatever environment"
    if names and not told:
        return "no environment is told"
    return None


def tables(statement: str) -> set[str]:
    """The tables spread by environment in which a statement looks for rows."""
    named = re.findall(r"(?:\bFROM|\bJOIN|\bUPDATE|,) (\w+)\b(?!\.)", statement)
    return SPREAD.intersection(named)
