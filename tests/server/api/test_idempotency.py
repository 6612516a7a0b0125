"""Creates that can be repeated safely, by the caller's idempotency key."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    ListApiKeysRequest,
    RotateApiKeyRequest,
)
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest, ListApplicationsRequest
from octohooks.v1.attempt_service_pb2 import ListDeliveriesRequest, ResendDeliveryRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    GetEndpointSecretRequest,
    ListEndpointsRequest,
    RecoverEndpointRequest,
    ReplayEndpointRequest,
    RotateEndpointSecretRequest,
    SendExampleRequest,
)
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import CreateEnvironmentRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest, ListEventTypesRequest
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    ListMessagesRequest,
    PublishMessagesRequest,
)
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.operational_webhook_service_pb2 import (
    CreateOperationalWebhookRequest,
    ListOperationalWebhooksRequest,
)

from tests.server.api.calls import Api, Refusal, Refused, refusal_in
from tests.server.api.rpcs import BY_METHOD, BY_REQUEST_TYPE, RPCS
from tests.server.api.serving import Clock, Server, Tenant, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Where nobody listens.
URL = "http://127.0.0.1:9/"
REUSED = ("FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED")


def message(payload: bytes = b"{}", to: str = "acme") -> CreateMessageRequest:
    return CreateMessageRequest(
        application=to, message=WebhookMessage(event_type="e", payload=payload)
    )


def target(**more: Any) -> dict[str, Any]:
    return {"application": "acme", "endpoint": "main", **more}


# Two different requests of each method that makes something.
CREATES: dict[str, tuple[Message, Message]] = {
    "BatchCreateMessages": (
        BatchCreateMessagesRequest(requests=[message(), message()]),
        BatchCreateMessagesRequest(requests=[message()]),
    ),
    "CreateApiKey": (CreateApiKeyRequest(), CreateApiKeyRequest(api_key=ApiKey(name="other"))),
    "CreateApplication": (
        CreateApplicationRequest(application=Application(name="one")),
        CreateApplicationRequest(application=Application(name="other")),
    ),
    "CreateEndpoint": (
        CreateEndpointRequest(application="acme", endpoint=Endpoint(url=URL)),
        CreateEndpointRequest(application="acme", endpoint=Endpoint(url=URL + "other")),
    ),
    "CreateEnvironment": (
        CreateEnvironmentRequest(environment=Environment(name="one")),
        CreateEnvironmentRequest(environment=Environment(name="other")),
    ),
    "CreateEventType": (
        CreateEventTypeRequest(event_type=EventType(name="one")),
        CreateEventTypeRequest(event_type=EventType(name="other")),
    ),
    "CreateMessage": (message(), message(b"[]")),
    "CreateOperationalWebhook": (
        CreateOperationalWebhookRequest(operational_webhook=OperationalWebhook(url=URL)),
        CreateOperationalWebhookRequest(operational_webhook=OperationalWebhook(url=URL + "other")),
    ),
    "PublishMessages": (
        PublishMessagesRequest(message=message()),
        PublishMessagesRequest(message=message(b"[]")),
    ),
    "RecoverEndpoint": (
        RecoverEndpointRequest(**target(since=Timestamp(seconds=1))),
        RecoverEndpointRequest(**target(since=Timestamp(seconds=2))),
    ),
    "ReplayEndpoint": (
        ReplayEndpointRequest(**target(since=Timestamp(seconds=1))),
        ReplayEndpointRequest(**target(since=Timestamp(seconds=2))),
    ),
    "ResendDelivery": (
        ResendDeliveryRequest(**target(message="m")),
        ResendDeliveryRequest(**target(message="n")),
    ),
    "RotateApiKey": (RotateApiKeyRequest(), RotateApiKeyRequest()),
    "RotateEndpointSecret": (
        RotateEndpointSecretRequest(**target()),
        RotateEndpointSecretRequest(**target(overlap={"seconds": 60})),
    ),
    "SendExample": (
        SendExampleRequest(**target(event_type="e")),
        SendExampleRequest(**target(event_type="f")),
    ),
}
every_create = pytest.mark.parametrize("method", CREATES)
# Those that callers make in large numbers, and at the same time.
OF_CALLERS = [
    "CreateApplication",
    "CreateEndpoint",
    "CreateMessage",
    "BatchCreateMessages",
    "PublishMessages",
]


class Desk:
    """Where creates are asked for: an environment in which each of them can succeed."""

    def __init__(self, server: Server, tenant: Tenant, old_key: str) -> None:
        self.server = server
        self.tenant = tenant
        self._old_key = old_key

    @classmethod
    async def of(cls, server: Server) -> "Desk":
        tenant = await server.new_tenant()
        octohooks = tenant.octohooks
        await octohooks.application.create(uid="acme")
        await octohooks.endpoint.create("acme", url=URL, uid="main", retry_schedule=[3600])
        for name in ("e", "f"):
            await octohooks.event_type.create(name, examples=[{}])
        for uid in ("m", "n"):
            await octohooks.message.create("acme", event_type="e", payload={}, uid=uid)
        old = await octohooks.api_key.create(name="old")
        return cls(server, tenant, old.api_key.id)

    def requests(self, method: str) -> tuple[Message, Message]:
        """Two different requests of the method."""
        if method == "RotateApiKey":
            return (
                RotateApiKeyRequest(api_key=self._old_key, overlap={"seconds": 60}),  # type: ignore[arg-type]
                RotateApiKeyRequest(api_key=self._old_key, overlap={"seconds": 61}),  # type: ignore[arg-type]
            )
        return CREATES[method]

    def api(self, method: str) -> Api:
        """The API for a key that opens the method."""
        return self.server.operator if method == "CreateEnvironment" else self.tenant.api

    async def another_key(self, method: str) -> Api:
        """The API for another key that opens the method in this environment."""
        if method == "CreateEnvironment":
            return self.server.operator
        return self.server.api(await self.server.new_key(self.tenant.id))

    async def counts(self) -> dict[str, int]:
        """How many there are of what creates make."""
        api = self.tenant.api
        lists: list[Message] = [
            ListApplicationsRequest(page_size=250),
            ListApiKeysRequest(page_size=250),
            ListDeliveriesRequest(page_size=250),
            ListEndpointsRequest(application="acme", page_size=250),
            ListEventTypesRequest(page_size=250),
            ListMessagesRequest(application="acme", page_size=250),
            ListOperationalWebhooksRequest(page_size=250),
            GetEndpointSecretRequest(**target()),
        ]
        counts = {}
        for request in lists:
            answer = await api(request)
            ((_, items), *_) = answer.ListFields() or [(None, ())]
            counts[type(request).__name__] = len(items)
        return counts


async def ask(api: Api, request: Message, key: str | None) -> Message:
    """What a create answers under a key; Refused when it, or the one message in it, is."""
    rpc = BY_REQUEST_TYPE[type(request)]
    if not isinstance(request, PublishMessagesRequest):
        answer = await api(request, idempotency_key=key)
        assert isinstance(answer, Message)
        return answer
    keyed = PublishMessagesRequest(message=request.message, idempotency_key=key or "")
    (acknowledged,) = await api.exchange(rpc, [keyed.SerializeToString()])
    result = acknowledged.result
    if result.HasField("failure"):
        raise Refused(refusal_in(result.failure))
    assert isinstance(result, Message)
    return result


async def refusal_of(api: Api, request: Message, key: str) -> Refusal:
    with pytest.raises(Refused) as caught:
        await ask(api, request, key)
    return caught.value.refusal


@pytest.fixture
def key() -> str:
    """A key that no other test uses; the operator's keys are the server's own."""
    return uuid.uuid4().hex


async def test_every_method_that_makes_something_is_in_the_table() -> None:
    makes = ("Create", "BatchCreate", "Publish", "Send", "Resend", "Recover", "Replay", "Rotate")

    assert {rpc.method for rpc in RPCS if rpc.method.startswith(makes)} == set(CREATES)


@every_create
async def test_the_same_key_with_the_same_request_makes_one_and_answers_the_same(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    request, _ = desk.requests(method)

    first = await ask(desk.api(method), request, key)
    counts = await desk.counts()
    again = await ask(desk.api(method), request, key)

    assert again == first
    assert again.SerializeToString(deterministic=True) == first.SerializeToString(
        deterministic=True
    )
    assert await desk.counts() == counts


@every_create
async def test_whichever_key_of_the_environment_is_used(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    request, _ = desk.requests(method)
    other = await desk.another_key(method)

    assert await ask(desk.api(method), request, key) == await ask(other, request, key)


@every_create
async def test_the_same_key_with_another_request_is_refused(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    request, other = desk.requests(method)
    first = await ask(desk.api(method), request, key)
    counts = await desk.counts()

    refusal = await refusal_of(desk.api(method), other, key)

    assert refusal.cause == REUSED
    assert await desk.counts() == counts
    assert await ask(desk.api(method), request, key) == first


# Those whose request names what is made, so that it can be made once only.
_NAMED = {"CreateEventType", "ResendDelivery"}


@pytest.mark.parametrize("method", [method for method in CREATES if method not in _NAMED])
async def test_without_a_key_or_with_another_one_each_call_makes_its_own(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    request, _ = desk.requests(method)

    answers = [await ask(desk.api(method), request, one) for one in (key, key + "2", None, None)]

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 4


async def test_a_key_that_was_used_with_one_method_is_used_for_all(
    server: Server, key: str
) -> None:
    desk = await Desk.of(server)
    await ask(desk.tenant.api, CreateApplicationRequest(), key)

    for method in CREATES.keys() - {"CreateEnvironment"}:
        refusal = await refusal_of(desk.tenant.api, desk.requests(method)[1], key)
        assert refusal.cause == REUSED


@pytest.mark.parametrize("method", OF_CALLERS)
async def test_another_environment_has_keys_of_its_own(
    server: Server, key: str, method: str
) -> None:
    mine, theirs = await Desk.of(server), await Desk.of(server)
    request, other = mine.requests(method)

    answer = await ask(mine.tenant.api, request, key)

    assert await ask(theirs.tenant.api, other, key) != answer
    assert await ask(mine.tenant.api, request, key) == answer


@pytest.mark.parametrize("method", OF_CALLERS)
async def test_fifty_at_once_with_one_key_make_one_and_get_one_answer(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    request, _ = desk.requests(method)
    before = await desk.counts()
    callers = [desk.tenant.api, await desk.another_key(method)]

    answers = await asyncio.gather(*(ask(callers[n % 2], request, key) for n in range(50)))

    assert all(answer == answers[0] for answer in answers)
    made = {name: count - before[name] for name, count in (await desk.counts()).items()}
    made.pop("ListApiKeysRequest")
    expected = {
        "CreateApplication": {"ListApplicationsRequest": 1},
        "CreateEndpoint": {"ListEndpointsRequest": 1},
        "CreateMessage": {"ListMessagesRequest": 1, "ListDeliveriesRequest": 1},
        "BatchCreateMessages": {"ListMessagesRequest": 2, "ListDeliveriesRequest": 2},
        "PublishMessages": {"ListMessagesRequest": 1, "ListDeliveriesRequest": 1},
    }[method]
    assert {name: count for name, count in made.items() if count} == expected


@pytest.mark.parametrize("method", OF_CALLERS)
async def test_of_different_requests_at_once_with_one_key_one_is_accepted(
    server: Server, key: str, method: str
) -> None:
    desk = await Desk.of(server)
    api = desk.tenant.api

    async def outcome(request: Message) -> Message | Refusal:
        try:
            return await ask(api, request, key)
        except Refused as error:
            return error.refusal

    pair = desk.requests(method)
    outcomes = await asyncio.gather(*(outcome(pair[n % 2]) for n in range(10)))

    answers = [one for one in outcomes if not isinstance(one, Refusal)]
    refusals = [one for one in outcomes if isinstance(one, Refusal)]
    assert len(answers) == len(refusals) == 5
    assert all(answer == answers[0] for answer in answers)
    assert {refusal.cause for refusal in refusals} == {REUSED}


async def test_fifty_messages_of_one_stream_with_one_key_make_one(server: Server, key: str) -> None:
    desk = await Desk.of(server)
    request = PublishMessagesRequest(message=message(), idempotency_key=key)

    answers = await desk.tenant.api.exchange(
        BY_METHOD["PublishMessages"], [request.SerializeToString()] * 50
    )

    assert [answer.number for answer in answers] == list(range(1, 51))
    assert len({answer.result.message.id for answer in answers}) == 1


FAILING: list[tuple[str, Message]] = [
    ("CreateMessage", message(to="later")),
    ("PublishMessages", PublishMessagesRequest(message=message(to="later"))),
    (
        "CreateEndpoint",
        CreateEndpointRequest(application="later", endpoint=Endpoint(url=URL)),
    ),
    (
        "ReplayEndpoint",
        ReplayEndpointRequest(application="later", endpoint="e", since=Timestamp(seconds=1)),
    ),
]


@pytest.mark.parametrize(("method", "request_"), FAILING, ids=[method for method, _ in FAILING])
async def test_a_failed_request_keeps_nothing(
    server: Server, key: str, method: str, request_: Message
) -> None:
    """Once what was in its way is gone, the same request succeeds under the same key."""
    desk = await Desk.of(server)
    refusal = await refusal_of(desk.tenant.api, request_, key)
    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    await desk.tenant.octohooks.application.create(uid="later")
    await desk.tenant.octohooks.endpoint.create("later", url=URL, uid="e")

    answer = await ask(desk.tenant.api, request_, key)

    assert await ask(desk.tenant.api, request_, key) == answer


async def test_a_failed_request_leaves_its_key_to_another_one(server: Server, key: str) -> None:
    desk = await Desk.of(server)
    api = desk.tenant.api
    await refusal_of(api, message(to="nobody"), key)
    await refusal_of(api, message(b"no JSON"), key)
    await refusal_of(api, CreateApplicationRequest(application=Application(uid="acme")), key)

    answer = await ask(api, message(), key)

    assert await ask(api, message(), key) == answer


async def test_the_first_answer_is_given_though_it_could_not_be_given_anew(
    server: Server, key: str
) -> None:
    """A caller that repeats itself asks what became of its call, not for a new one."""
    desk = await Desk.of(server)
    octohooks = desk.tenant.octohooks
    published = PublishMessagesRequest(message=message())
    accepted = await ask(desk.tenant.api, message(), key)
    acknowledged = await ask(desk.tenant.api, published, key + "2")
    endpoint_request, _ = desk.requests("CreateEndpoint")
    endpoint = await ask(desk.tenant.api, endpoint_request, key + "3")

    await octohooks.event_type.archive("e")
    assert await ask(desk.tenant.api, message(), key) == accepted
    assert await ask(desk.tenant.api, published, key + "2") == acknowledged

    await octohooks.application.delete("acme")
    assert await ask(desk.tenant.api, message(), key) == accepted
    assert await ask(desk.tenant.api, published, key + "2") == acknowledged
    assert await ask(desk.tenant.api, endpoint_request, key + "3") == endpoint
    assert (await refusal_of(desk.tenant.api, message(b"[]"), key)).cause == REUSED


@pytest.mark.parametrize("method", OF_CALLERS)
async def test_an_answer_is_kept_for_12_hours(tmp_path: Path, key: str, method: str) -> None:
    clock = Clock()
    async with serving(tmp_path, clock=clock) as server:
        desk = await Desk.of(server)
        request, other = desk.requests(method)
        first = await ask(desk.tenant.api, request, key)

        clock.advance(hours=11.9)
        assert await ask(desk.tenant.api, request, key) == first
        assert (await refusal_of(desk.tenant.api, other, key)).cause == REUSED

        clock.advance(hours=0.2)
        second = await ask(desk.tenant.api, other, key)
        assert second != first
        assert await ask(desk.tenant.api, other, key) == second


async def test_an_answer_survives_a_stop_and_a_start(tmp_path: Path, key: str) -> None:
    async with serving(tmp_path) as server:
        desk = await Desk.of(server)
        first = await ask(desk.tenant.api, message(), key)

    async with serving(tmp_path) as server:
        assert await ask(server.api(desk.tenant.key), message(), key) == first


# A message that can be accepted, another one, and one that cannot.
_VARIANTS = [message(), message(b"[]"), message(to="nobody")]
_CALLS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from(range(len(_VARIANTS))),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@given(calls=_CALLS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_sequence_of_calls_is_answered_as_by_a_table_of_first_answers(
    server: Server, calls: list[tuple[str | None, int, bool, bool]]
) -> None:
    """With whichever key of the environment, one by one or on a stream."""
    tenant = await server.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    apis = [tenant.api, server.api(await server.new_key(tenant.id))]
    first: dict[str, tuple[int, str]] = {}
    made: list[str] = []

    for key, variant, with_other_key, on_stream in calls:
        request: Message = _VARIANTS[variant]
        if on_stream:
            request = PublishMessagesRequest(message=_VARIANTS[variant])
        try:
            answer: Any = await ask(apis[with_other_key], request, key)
            outcome = answer.message.id
        except Refused as error:
            outcome = error.refusal.cause
        if key in first:
            known_variant, id = first[key]
            assert outcome == (id if variant == known_variant else REUSED)
        elif variant == 2:
            assert outcome == ("NOT_FOUND", "NOT_FOUND")
        else:
            assert outcome not in made
            made.append(outcome)
            if key is not None:
                first[key] = (variant, outcome)

    page = await tenant.api(ListMessagesRequest(application="acme"))
    assert [one.id for one in page.messages] == made[::-1]
