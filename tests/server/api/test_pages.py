"""Pages of lists: tokens are bound to what they were made for, and stay right under change."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from octohooks import AsyncOctohooks
from octohooks.v1.api_key_service_pb2 import ListApiKeysRequest
from octohooks.v1.application_service_pb2 import ListApplicationsRequest
from octohooks.v1.attempt_service_pb2 import ListAttemptsRequest, ListDeliveriesRequest
from octohooks.v1.audit_service_pb2 import ListAuditEventsRequest
from octohooks.v1.endpoint_service_pb2 import ListEndpointsRequest
from octohooks.v1.environment_service_pb2 import ListEnvironmentsRequest
from octohooks.v1.event_type_service_pb2 import ListEventTypesRequest
from octohooks.v1.message_service_pb2 import ExplainMessageRequest, ListMessagesRequest
from octohooks.v1.operational_webhook_service_pb2 import ListOperationalWebhooksRequest

from tests.receivers import Receiver
from tests.server.api.calls import Api, Refusal
from tests.server.api.conftest import NewHome
from tests.server.api.deliveries import attempted
from tests.server.api.home import Home
from tests.server.api.rpcs import RPCS
from tests.server.api.serving import Server, Tenant, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "https://example.com/"

# A request for each list that comes in pages.
LISTS: dict[str, Message] = {
    "ExplainMessage": ExplainMessageRequest(application="acme", message="m1"),
    "ListApiKeys": ListApiKeysRequest(),
    "ListApplications": ListApplicationsRequest(),
    "ListAttempts": ListAttemptsRequest(application="acme"),
    "ListAuditEvents": ListAuditEventsRequest(),
    "ListDeliveries": ListDeliveriesRequest(application="acme"),
    "ListEndpoints": ListEndpointsRequest(application="acme"),
    "ListEnvironments": ListEnvironmentsRequest(),
    "ListEventTypes": ListEventTypesRequest(),
    "ListMessages": ListMessagesRequest(application="acme"),
    "ListOperationalWebhooks": ListOperationalWebhooksRequest(),
}
every_list = pytest.mark.parametrize("method", LISTS)


def page_of(request: Message, size: int, token: str) -> Any:
    """The request for one page of a list."""
    page: Any = type(request)()
    page.CopyFrom(request)
    page.page_size, page.page_token = size, token
    return page


def items_of(answer: Message) -> list[Any]:
    """The items of a page, whatever they are called."""
    return [item for field, items in answer.ListFields() if field.is_repeated for item in items]


async def furnish(tenant: Tenant, receiver: Receiver) -> None:
    """Two or more of everything that can be listed."""
    octohooks = tenant.octohooks
    for application in ("acme", "other"):
        await octohooks.application.create(uid=application)
        for uid in ("e1", "e2"):
            await octohooks.endpoint.create(application, url=receiver.url, uid=uid)
        for uid in ("m1", "m2"):
            await octohooks.message.create(application, event_type="e", payload={}, uid=uid)
    for name in ("one", "two"):
        await octohooks.api_key.create(name=name)
        await octohooks.event_type.create(name)
        await octohooks.operational_webhook.create(url=URL, disabled=True)
    await attempted(octohooks, 8)


@dataclass(frozen=True)
class World:
    """Two environments with the same in them, and their operator."""

    mine: Tenant
    theirs: Tenant
    operator: Api

    def api(self, method: str) -> Api:
        """The API for a key that opens the method."""
        return self.operator if method == "ListEnvironments" else self.mine.api

    async def token(self, method: str) -> str:
        """A token for the second page of the list."""
        answer = await self.api(method)(page_of(LISTS[method], 1, ""))
        assert answer.next_page_token
        return str(answer.next_page_token)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(new_home: NewHome) -> AsyncIterator[World]:
    """On a server of its own, or there would be more environments than fit on a page."""
    async with new_home() as home, serving(home) as server:
        async with Receiver() as receiver:
            mine, theirs = await server.new_tenant(), await server.new_tenant()
            for tenant in (mine, theirs):
                await furnish(tenant, receiver)
        yield World(mine, theirs, server.operator)


def assert_is_about_the_token(refusal: Refusal) -> None:
    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
    assert refusal.fields == ["page_token"]


async def test_every_list_with_pages_is_in_the_table() -> None:
    found = {
        rpc.method for rpc in RPCS if "page_token" in rpc.request_type.DESCRIPTOR.fields_by_name
    }

    assert found == set(LISTS)


@every_list
async def test_pages_together_hold_what_one_page_would_hold(world: World, method: str) -> None:
    api, request = world.api(method), LISTS[method]

    found: list[Any] = []
    token = ""
    while True:
        answer = await api(page_of(request, 1, token))
        found += items_of(answer)
        token = answer.next_page_token
        if not token:
            break

    assert len(found) >= 2
    assert found == items_of(await api(page_of(request, 250, "")))


@every_list
async def test_a_token_of_another_list_is_refused(world: World, method: str) -> None:
    for other in LISTS.keys() - {method}:
        token = await world.token(other)
        assert_is_about_the_token(await world.api(method).refusal(page_of(LISTS[method], 1, token)))


def _with_another_value(request: Message, field: FieldDescriptor) -> Message:
    """The request, with another value in one field that is good too."""
    changed: Any = type(request)()
    changed.CopyFrom(request)
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(changed, name)["k"] = "v"
    elif field.message_type is not None:
        getattr(changed, name).seconds = 1
    elif name == "methods":
        changed.methods.append("CreateApiKey")
    elif field.is_repeated:
        getattr(changed, name).append(1 if field.enum_type is not None else "e")
    elif field.type == FieldDescriptor.TYPE_BOOL:
        setattr(changed, name, not getattr(changed, name))
    else:
        values = {
            "actor": "operator",
            "application": "other",
            "endpoint": "e1",
            "message": "m2",
            "resource": "e",
        }
        setattr(changed, name, values[name])
    return changed  # type: ignore[no-any-return]


OTHER_REQUESTS = [
    pytest.param(method, field, id=f"{method}-{field.name}")
    for method, request in LISTS.items()
    for field in request.DESCRIPTOR.fields
    if field.name not in ("page_size", "page_token", "environment")
]


@pytest.mark.parametrize(("method", "field"), OTHER_REQUESTS)
async def test_a_token_of_another_request_is_refused(
    world: World, method: str, field: FieldDescriptor
) -> None:
    token = await world.token(method)
    other = _with_another_value(LISTS[method], field)

    refusal = await world.api(method).refusal(page_of(other, 1, token))

    assert_is_about_the_token(refusal)


@pytest.mark.parametrize("method", sorted(LISTS.keys() - {"ListEnvironments"}))
async def test_a_token_of_another_environment_is_refused(world: World, method: str) -> None:
    token = await world.token(method)

    refusal = await world.theirs.api.refusal(page_of(LISTS[method], 1, token))

    assert_is_about_the_token(refusal)


@given(data=st.data())
@settings(max_examples=60)
async def test_an_altered_token_is_refused(world: World, data: st.DataObject) -> None:
    token = await world.token("ListApplications")
    place = data.draw(st.integers(0, len(token)))
    length = data.draw(st.integers(0, 2))
    alphabet = st.one_of(st.sampled_from("AQgw019-_=+/ !"), st.characters(codec="utf-8"))
    altered = token[:place] + data.draw(st.text(alphabet, max_size=2)) + token[place + length :]
    if altered in (token, ""):
        return

    assert_is_about_the_token(
        await world.mine.api.refusal(page_of(ListApplicationsRequest(), 1, altered))
    )


async def test_a_token_is_good_after_another_start_of_the_server(home: Home) -> None:
    async with serving(home) as server:
        tenant = await server.new_tenant()
        made = [await tenant.octohooks.application.create() for _ in range(2)]
        first = await tenant.api(ListApplicationsRequest(page_size=1))

    async with serving(home) as server:
        second = await server.api(tenant.key)(
            ListApplicationsRequest(page_token=first.next_page_token)
        )
    assert [*first.applications, *second.applications] == made


@dataclass(frozen=True)
class Collection:
    """Things that are made, some of which are unmade, and listed."""

    request: Message
    make: Callable[[AsyncOctohooks, str], Awaitable[Any]]
    unmake: Callable[[AsyncOctohooks, str], Awaitable[None]] | None


def id_of(item: Any) -> Any:
    """What identifies an item of any list."""
    if hasattr(item, "id"):
        return item.id
    return (item.message, item.endpoint) if hasattr(item, "message") else item.name


COLLECTIONS = {
    "API keys": Collection(
        ListApiKeysRequest(),
        lambda octohooks, name: octohooks.api_key.create(name=name),
        lambda octohooks, id: octohooks.api_key.revoke(id),
    ),
    "applications": Collection(
        ListApplicationsRequest(),
        lambda octohooks, name: octohooks.application.create(uid=name),
        lambda octohooks, id: octohooks.application.delete(id),
    ),
    "deliveries": Collection(
        ListDeliveriesRequest(),
        lambda octohooks, name: octohooks.message.create("acme", event_type="e", payload={}),
        None,
    ),
    "endpoints": Collection(
        ListEndpointsRequest(application="acme"),
        lambda octohooks, name: octohooks.endpoint.create("acme", url=URL, uid=name),
        lambda octohooks, id: octohooks.endpoint.delete("acme", id),
    ),
    "event types": Collection(
        ListEventTypesRequest(),
        lambda octohooks, name: octohooks.event_type.create(name),
        lambda octohooks, id: octohooks.event_type.delete(id),
    ),
    "messages": Collection(
        ListMessagesRequest(application="acme"),
        lambda octohooks, name: octohooks.message.create("acme", event_type="e", payload={}),
        None,
    ),
    "operational webhooks": Collection(
        ListOperationalWebhooksRequest(),
        lambda octohooks, name: octohooks.operational_webhook.create(url=URL, uid=name),
        lambda octohooks, id: octohooks.operational_webhook.delete(id),
    ),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
@given(data=st.data())
@settings(max_examples=5)
async def test_pages_neither_repeat_nor_miss_what_was_there_all_along(
    server: Server, kind: str, data: st.DataObject
) -> None:
    """Whatever is made and unmade between one page and the next."""
    collection = COLLECTIONS[kind]
    tenant = await server.new_tenant()
    octohooks, api = tenant.octohooks, tenant.api
    await octohooks.application.create(uid="acme")
    await octohooks.endpoint.create("acme", url=URL, retry_schedule=[3600])
    names = st.text(st.sampled_from("abcz09-_."), min_size=1, max_size=3)
    fresh = iter(data.draw(st.lists(names, min_size=20, max_size=20, unique=True)))
    for _ in range(data.draw(st.integers(1, 5))):
        await collection.make(octohooks, next(fresh))
    # The first key is the one that asks.
    keep = {items_of(await api(ListApiKeysRequest()))[-1].id}
    there_all_along = {id_of(item) for item in items_of(await api(collection.request))}

    found: list[Any] = []
    token = ""
    while True:
        answer = await api(page_of(collection.request, data.draw(st.integers(1, 3)), token))
        found += [id_of(item) for item in items_of(answer)]
        token = answer.next_page_token
        if not token:
            break
        for _ in range(data.draw(st.integers(0, 2))):
            name = next(fresh, None)
            if name is not None:
                await collection.make(octohooks, name)
        present = {id_of(item) for item in items_of(await api(collection.request))}
        unmade = data.draw(st.sampled_from(sorted(present)))
        if collection.unmake is not None and unmade not in keep and data.draw(st.booleans()):
            await collection.unmake(octohooks, unmade)
            there_all_along.discard(unmade)

    assert len(found) == len(set(found))
    assert there_all_along <= set(found)
