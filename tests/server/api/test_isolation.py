"""Environments are isolated from one another, and so are applications.

The tables are made from the descriptors of the contract: a new RPC, or a new reference in a
request, is in them by itself, and fails where it lacks what it needs here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks import AsyncOctohooks
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    RecoverEndpointRequest,
    ReplayEndpointRequest,
)
from octohooks.v1.job_pb2 import JOB_STATE_FINISHED
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    PublishMessagesRequest,
)
from octohooks_server.api.confinement import names_application

from tests.receivers import Receiver
from tests.server.api.calls import Api, Refusal, Refused, refusal_in
from tests.server.api.deliveries import attempted
from tests.server.api.rows import Rows, rows_of
from tests.server.api.rpcs import BY_METHOD, RPCS, Rpc
from tests.server.api.serving import Server, Tenant
from tests.server.api.test_permissions import OPENED
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

# Fields of these names, where they are strings, refer to an entity by its ID or UID.
REFERENCES = {
    "api_key",
    "application",
    "attempt",
    "endpoint",
    "environment",
    "event_type",
    "job",
    "message",
    "operational_webhook",
}
# Methods that work on what belongs to the caller's environment without naming any of it.
WITHOUT_REFERENCES = {
    "CreateApplication",
    "CreateEnvironment",
    "CreateEventType",
    "CreateOperationalWebhook",
    "ImportOpenApi",
    "ListApplications",
    "ListEnvironments",
    "ListEventTypes",
    "ListOperationalWebhooks",
}
# The service that works on environments from outside, with a key of its own.
OPERATOR = "octohooks.v1.EnvironmentService"

A_DAY_AGO = Timestamp(seconds=int((datetime.now(UTC) - timedelta(days=1)).timestamp()))
A_MESSAGE = CreateMessageRequest(message=WebhookMessage(event_type="e", payload=b"{}"))
# What requests need beside their references to get as far as those.
NEEDED: dict[str, Message] = {
    "BatchCreateMessages": BatchCreateMessagesRequest(requests=[A_MESSAGE]),
    "CreateEndpoint": CreateEndpointRequest(endpoint=Endpoint(url="https://example.com/")),
    "CreateMessage": A_MESSAGE,
    "PublishMessages": PublishMessagesRequest(message=A_MESSAGE),
    "RecoverEndpoint": RecoverEndpointRequest(since=A_DAY_AGO),
    "ReplayEndpoint": ReplayEndpointRequest(since=A_DAY_AGO),
}

Path_ = tuple[FieldDescriptor, ...]


def reference_paths(descriptor: Any) -> Iterator[Path_]:
    """The way to each reference in a request, through the requests in it."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING and field.name in REFERENCES:
            yield (field,)
        elif field.message_type is not None and field.message_type.name.endswith("Request"):
            yield from ((field, *rest) for rest in reference_paths(field.message_type))


def set_at(message: Any, path: Path_, reference: str) -> None:
    field, *rest = path
    if not rest:
        setattr(message, field.name, reference)
        return
    inner = getattr(message, field.name)
    set_at(inner[0] if field.is_repeated else inner, tuple(rest), reference)


@dataclass(frozen=True)
class Position:
    """A place in the requests of an RPC that refers to an entity."""

    rpc: Rpc
    path: Path_

    @property
    def kind(self) -> str:
        """What it refers to, such as `endpoint`."""
        return self.path[-1].name

    def __str__(self) -> str:
        return f"{self.rpc.method}.{'.'.join(field.name for field in self.path)}"


POSITIONS = [
    Position(rpc, path)
    for rpc in RPCS
    if rpc.service != OPERATOR
    for path in reference_paths(rpc.request_type.DESCRIPTOR)
]

# An event type is known by its name, which is its UID; some kinds have no UID.
WITHOUT_ID, WITHOUT_UID = {"event_type"}, {"api_key", "attempt", "environment", "job"}
BY_EITHER = [
    (position, by)
    for position in POSITIONS
    for by, without in (("ids", WITHOUT_ID), ("uids", WITHOUT_UID))
    if position.kind not in without
]


@dataclass(frozen=True)
class Belongings:
    """An environment and references to one entity of each kind that it has."""

    tenant: Tenant
    ids: dict[str, str]
    uids: dict[str, str]

    @property
    def references(self) -> dict[str, str]:
        """A reference for each kind."""
        return {**self.ids, **self.uids}


async def furnish(tenant: Tenant, receiver: Receiver, name: str) -> Belongings:
    octohooks = tenant.octohooks
    uids = {
        "application": f"{name}-application",
        "endpoint": f"{name}-endpoint",
        "event_type": f"{name}-event-type",
        "message": f"{name}-message",
        "operational_webhook": f"{name}-operational",
    }
    application, endpoint = uids["application"], uids["endpoint"]
    webhook = await octohooks.operational_webhook.create(
        url=receiver.url, uid=uids["operational_webhook"], disabled=True
    )
    await octohooks.event_type.create(uids["event_type"], examples=[{}])
    made = await octohooks.application.create(uid=application)
    goal = await octohooks.endpoint.create(application, url=receiver.url, uid=endpoint)
    message = await octohooks.message.create(
        application, event_type=uids["event_type"], payload={}, uid=uids["message"]
    )
    (attempt,) = await attempted(octohooks, 1, application=made.id)
    job = await octohooks.endpoint.replay(application, endpoint, since=message.create_time)

    async def over() -> bool:
        return (await octohooks.job.get(job.id)).state == JOB_STATE_FINISHED

    await eventually(over)
    key = (await octohooks.api_key.create(name=name)).api_key
    ids = {
        "api_key": key.id,
        "application": made.id,
        "attempt": attempt.id,
        "endpoint": goal.id,
        "environment": tenant.id,
        "job": job.id,
        "message": message.id,
        "operational_webhook": webhook.id,
    }
    return Belongings(tenant, ids, uids)


@dataclass(frozen=True)
class World:
    """Two environments, and another application in the caller's own."""

    mine: Belongings
    theirs: Belongings
    sibling: dict[str, list[str]]
    rows_of_theirs: Callable[[], Awaitable[Rows]]
    before: Rows


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(server: Server) -> AsyncIterator[World]:
    async with Receiver() as receiver:
        mine = await furnish(await server.new_tenant(), receiver, "mine")
        theirs = await furnish(await server.new_tenant(), receiver, "theirs")
        octohooks = mine.tenant.octohooks
        await octohooks.application.create(uid="sibling")
        endpoint = await octohooks.endpoint.create("sibling", url=receiver.url, uid="sibling-e")
        message = await octohooks.message.create(
            "sibling", event_type="e", payload={}, uid="sibling-m"
        )
        await attempted(octohooks, 2)

    async def rows_of_theirs() -> Rows:
        return await rows_of(server.database, theirs.tenant.id)

    before = await rows_of_theirs()
    filled = {table for table, rows in before.items() if rows}
    assert filled >= {"applications", "attempts", "deliveries", "endpoints", "jobs", "messages"}
    yield World(
        mine,
        theirs,
        {"endpoint": [endpoint.id, "sibling-e"], "message": [message.id, "sibling-m"]},
        rows_of_theirs,
        before,
    )


def request_of(rpc: Rpc, references: dict[Path_, str]) -> Message:
    """A request with these references, and what it needs beside them."""
    request = rpc.request_type()
    if rpc.method in NEEDED:
        request.CopyFrom(NEEDED[rpc.method])
    for path, reference in references.items():
        set_at(request, path, reference)
    return request


def own_references(rpc: Rpc, belongings: Belongings) -> dict[Path_, str]:
    paths = reference_paths(rpc.request_type.DESCRIPTOR)
    return {path: belongings.references[path[-1].name] for path in paths}


def never(reference: str) -> str:
    """A reference of the same length that names nothing anywhere."""
    return reference[:-4] + "ZZZZ"


async def refused(api: Api, rpc: Rpc, request: Message) -> Refusal:
    """Why the call, or the one message in it, is refused; fails when it is not."""
    try:
        (answer,) = await api.exchange(rpc, [request.SerializeToString()])
    except Refused as error:
        return error.refusal
    result = {
        "BatchCreateMessages": lambda: answer.results[0],
        "PublishMessages": lambda: answer.result,
    }.get(rpc.method, lambda: None)()
    assert result is not None, f"{rpc.method} was not refused: {answer}"
    assert result.HasField("failure"), f"{rpc.method} was not refused: {answer}"
    return refusal_in(result.failure)


def told(refusal: Refusal, *references: str) -> bytes:
    """The bytes of the answer, with what was asked for made the same for all."""
    data: bytes = refusal.status.SerializeToString()
    for reference in references:
        data = data.replace(reference.encode(), never(reference).encode())
    return data


@pytest.mark.parametrize(
    ("position", "by"), BY_EITHER, ids=[f"{position}-{by}" for position, by in BY_EITHER]
)
async def test_what_another_environment_has_answers_like_what_does_not_exist(
    world: World, position: Position, by: str
) -> None:
    api, rpc, kind = world.mine.tenant.api, position.rpc, position.kind
    of_theirs = getattr(world.theirs, by)[kind]
    own = own_references(rpc, world.mine)

    foreign = await refused(api, rpc, request_of(rpc, {**own, position.path: of_theirs}))
    missing = await refused(api, rpc, request_of(rpc, {**own, position.path: never(of_theirs)}))

    assert foreign.cause == ("NOT_FOUND", "NOT_FOUND")
    resource_type, name = foreign.resource
    assert (resource_type.lower(), name) == (kind.replace("_", " "), of_theirs)
    assert told(foreign, of_theirs) == told(missing, of_theirs)
    assert await world.rows_of_theirs() == world.before


@pytest.mark.parametrize(
    ("position", "by"), BY_EITHER, ids=[f"{position}-{by}" for position, by in BY_EITHER]
)
async def test_nor_does_it_answer_otherwise_where_nothing_else_is_named(
    world: World, position: Position, by: str
) -> None:
    """Where the application may be left out, an ID is looked for in the whole environment."""
    api, rpc = world.mine.tenant.api, position.rpc
    of_theirs = getattr(world.theirs, by)[position.kind]

    foreign = await refused(api, rpc, request_of(rpc, {position.path: of_theirs}))
    missing = await refused(api, rpc, request_of(rpc, {position.path: never(of_theirs)}))

    assert told(foreign, of_theirs) == told(missing, of_theirs)
    assert await world.rows_of_theirs() == world.before


@pytest.mark.parametrize(
    "rpc", dict.fromkeys(position.rpc for position in POSITIONS), ids=lambda rpc: rpc.method
)
@pytest.mark.parametrize("by", ["ids", "uids"])
async def test_nor_where_all_that_is_named_is_of_the_other_environment(
    world: World, rpc: Rpc, by: str
) -> None:
    theirs = {**world.theirs.references, **getattr(world.theirs, by)}
    paths = list(reference_paths(rpc.request_type.DESCRIPTOR))
    references = {path: theirs[path[-1].name] for path in paths}
    api = world.mine.tenant.api

    foreign = await refused(api, rpc, request_of(rpc, references))
    missing = await refused(
        api, rpc, request_of(rpc, {path: never(it) for path, it in references.items()})
    )

    assert foreign.cause == ("NOT_FOUND", "NOT_FOUND")
    assert told(foreign, *references.values()) == told(missing, *references.values())
    assert await world.rows_of_theirs() == world.before


@pytest.mark.parametrize(
    "position",
    [position for position in POSITIONS if position.kind in ("endpoint", "message")],
    ids=str,
)
@pytest.mark.parametrize("by", ["id", "uid"])
async def test_what_another_application_has_answers_like_what_does_not_exist(
    world: World, position: Position, by: str
) -> None:
    api, rpc, kind = world.mine.tenant.api, position.rpc, position.kind
    of_sibling = world.sibling[kind][by == "uid"]
    own = own_references(rpc, world.mine)

    foreign = await refused(api, rpc, request_of(rpc, {**own, position.path: of_sibling}))
    missing = await refused(api, rpc, request_of(rpc, {**own, position.path: never(of_sibling)}))

    assert foreign.cause == ("NOT_FOUND", "NOT_FOUND")
    assert foreign.resource == (kind, of_sibling)
    assert told(foreign, of_sibling) == told(missing, of_sibling)


READS = [rpc for rpc in RPCS if rpc.method.startswith(("Get", "List", "Explain", "Watch"))]


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in READS if rpc.service != OPERATOR], ids=lambda rpc: rpc.method
)
async def test_no_answer_holds_anything_of_another_environment(world: World, rpc: Rpc) -> None:
    """This shows too that the references above are refused for nothing else than whose they are."""
    api = world.mine.tenant.api
    answers = await api.exchange(
        rpc, [request_of(rpc, own_references(rpc, world.mine)).SerializeToString()]
    )
    if rpc.method in ("ListAttempts", "ListDeliveries"):
        answers += await api.exchange(rpc, [b""])

    for reference in (*world.theirs.ids.values(), *world.theirs.uids.values()):
        assert all(reference not in str(answer) for answer in answers)


async def test_every_rpc_names_what_it_is_about_or_is_known_not_to() -> None:
    """A new RPC without references has to be thought about, and then to be listed above."""
    with_references = {position.rpc.method for position in POSITIONS}
    others = {rpc.method for rpc in RPCS if rpc.service != OPERATOR} - with_references
    of_operator = {
        rpc.method
        for rpc in RPCS
        if rpc.service == OPERATOR and not list(reference_paths(rpc.request_type.DESCRIPTOR))
    }

    assert others | of_operator == WITHOUT_REFERENCES


async def test_a_uid_means_to_each_environment_its_own(
    octohooks: AsyncOctohooks, other_tenant: Tenant
) -> None:
    other = other_tenant.octohooks
    theirs = await other.application.create(uid="acme", name="theirs")
    their_endpoint = await other.endpoint.create("acme", url="https://example.com/", uid="main")

    mine = await octohooks.application.update("acme", name="mine")
    await octohooks.message.create(
        "new", event_type="e", payload={}, inline_application={"name": "mine"}
    )
    await octohooks.endpoint.update("acme", "main", url="https://example.org/", allow_missing=True)
    await octohooks.application.delete("acme")

    assert mine.id != theirs.id
    assert await other.application.get("acme") == theirs
    assert await other.endpoint.get("acme", "main") == their_endpoint
    assert [one async for one in other.application.list()] == [theirs]


# Of what a key of one application may call, that which does not name the application.
UNNAMED = {"GetAttempt", "GetJob", "ListApplications"}
# Lists that can be asked for without naming anything.
CONFINED_LISTS = {
    "ListApplications",
    "ListAttempts",
    "ListDeliveries",
    "ListEndpoints",
    "ListMessages",
}
OF_APPLICATIONS = [rpc for rpc in RPCS if rpc.method in OPENED["application"]]
IN_OTHER_APPLICATIONS = [
    (position, by)
    for position, by in BY_EITHER
    if position.rpc in OF_APPLICATIONS and position.kind != "event_type"
]


@dataclass(frozen=True)
class Neighbours:
    """Two applications of one environment, and a key that opens the first of them alone."""

    api: Api
    mine: Belongings
    theirs: Belongings
    rows: Callable[[], Awaitable[Rows]]
    before: Rows


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def neighbours(server: Server) -> Neighbours:
    tenant = await server.new_tenant()
    octohooks = tenant.octohooks
    async with Receiver() as receiver:
        mine = await furnish(tenant, receiver, "mine")
        theirs = await furnish(tenant, receiver, "theirs")
    made = await octohooks.api_key.create(role="application", application=mine.uids["application"])

    async def rows() -> Rows:
        found = await rows_of(server.database, tenant.id)
        # What is refused is not written down, but the reading of secrets is.
        return {table: rows for table, rows in found.items() if table != "audit_events"}

    return Neighbours(server.api(made.key), mine, theirs, rows, await rows())


@pytest.mark.parametrize(
    ("position", "by"),
    IN_OTHER_APPLICATIONS,
    ids=[f"{position}-{by}" for position, by in IN_OTHER_APPLICATIONS],
)
async def test_to_a_key_of_one_application_what_others_have_is_like_what_does_not_exist(
    neighbours: Neighbours, position: Position, by: str
) -> None:
    api, rpc, kind = neighbours.api, position.rpc, position.kind
    of_theirs = getattr(neighbours.theirs, by)[kind]
    own = own_references(rpc, neighbours.mine)
    all_theirs = {**neighbours.theirs.references, **getattr(neighbours.theirs, by)}

    for others in (own, {}, {path: all_theirs[path[-1].name] for path in own}):
        foreign = await refused(api, rpc, request_of(rpc, {**others, position.path: of_theirs}))
        asked = {**others, position.path: never(of_theirs)}
        missing = await refused(api, rpc, request_of(rpc, asked))

        assert told(foreign, *all_theirs.values()) == told(missing, *all_theirs.values())
        if others is own:
            assert foreign.cause == ("NOT_FOUND", "NOT_FOUND")
            assert foreign.resource == (kind, of_theirs)
    assert await neighbours.rows() == neighbours.before


@pytest.mark.parametrize(
    "rpc",
    [rpc for rpc in READS if rpc in OF_APPLICATIONS],
    ids=lambda rpc: rpc.method,
)
async def test_a_key_of_one_application_reads_that_one_alone_whether_it_names_it_or_not(
    neighbours: Neighbours, rpc: Rpc
) -> None:
    """This shows too that the references above are refused for nothing else than whose they are."""
    own = own_references(rpc, neighbours.mine)
    named = request_of(rpc, own)
    unnamed = request_of(
        rpc, {path: it for path, it in own.items() if path[-1].name != "application"}
    )
    lists = [rpc.request_type()] if rpc.method in CONFINED_LISTS else []

    for request in (named, unnamed, *lists):
        answers = await neighbours.api.exchange(rpc, [request.SerializeToString()])
        assert answers
        for reference in (*neighbours.theirs.ids.values(), *neighbours.theirs.uids.values()):
            if reference not in neighbours.mine.references.values():
                assert all(reference not in str(answer) for answer in answers)


@pytest.mark.parametrize("how", ["ListApplications", "ListDeliveries", "ListAttempts"])
async def test_a_list_without_a_filter_has_what_the_one_application_has(
    neighbours: Neighbours, how: str
) -> None:
    (answer,) = await neighbours.api.exchange(BY_METHOD[how], [b""])

    ((_, items),) = answer.ListFields()
    of = {getattr(item, "application", None) or item.id for item in items}
    assert of == {neighbours.mine.ids["application"]}


async def test_a_watch_of_a_key_of_one_application_shows_that_one_alone(
    neighbours: Neighbours,
) -> None:
    octohooks, mine = neighbours.mine.tenant.octohooks, neighbours.mine
    sent: list[str] = []
    watch = neighbours.api.open(BY_METHOD["WatchAttempts"], [b""])
    responses = aiter(watch)
    assert not (await anext(responses)).events
    async with Receiver() as receiver:
        for one in (neighbours.theirs, mine):
            await octohooks.endpoint.update(
                one.ids["application"], one.ids["endpoint"], url=receiver.url
            )
        # What others get first would be seen first.
        for one in (neighbours.theirs, mine):
            message = await octohooks.message.create(
                one.ids["application"], event_type="e", payload={}
            )
            await attempted(octohooks, 1, message=message.id)
            sent.append(message.id)
        while not (seen := (await anext(responses)).events):
            # A bookmark.
            pass
    watch.cancel()

    assert [event.attempt.message for event in seen] == sent[1:]


async def test_every_rpc_for_keys_of_one_application_can_be_confined() -> None:
    """A new one that does not name the application has to be confined by itself, and listed above.

    Streams of requests are not looked at.
    """
    named = {
        rpc.method
        for rpc in OF_APPLICATIONS
        if names_application(rpc.request_type.DESCRIPTOR) and not rpc.client_streams
    }

    assert {rpc.method for rpc in OF_APPLICATIONS} - named == UNNAMED
