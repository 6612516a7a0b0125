"""Creates that can be repeated safely, by the caller's idempotency key."""

import asyncio
import uuid
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    ReplayEndpointRequest,
)
from octohooks.v1.message_service_pb2 import (
    CreateMessageRequest,
    ListMessagesRequest,
    PublishMessagesRequest,
)

from tests.server.api.calls import Api, Refusal, Refused
from tests.server.api.creates import CREATES, Desk, ask, message
from tests.server.api.home import Home
from tests.server.api.rpcs import BY_METHOD, RPCS
from tests.server.api.serving import Clock, Server, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Where nobody listens.
URL = "http://127.0.0.1:9/"
every_create = pytest.mark.parametrize("method", CREATES)
# Those that callers make in large numbers, and at the same time.
OF_CALLERS = [
    "CreateApplication",
    "CreateEndpoint",
    "CreateMessage",
    "BatchCreateMessages",
    "PublishMessages",
]
REUSED = ("FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(server: Server) -> Desk:
    """A desk that tests may share, since each has keys of its own."""
    return await Desk.of(server)


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
    desk: Desk, key: str, method: str
) -> None:
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
async def test_whichever_key_of_the_environment_is_used(desk: Desk, key: str, method: str) -> None:
    request, _ = desk.requests(method)
    other = await desk.another_key(method)

    assert await ask(desk.api(method), request, key) == await ask(other, request, key)


@every_create
async def test_the_same_key_with_another_request_is_refused(
    desk: Desk, key: str, method: str
) -> None:
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
    desk: Desk, key: str, method: str
) -> None:
    request, _ = desk.requests(method)

    answers = [await ask(desk.api(method), request, one) for one in (key, key + "2", None, None)]

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 4


async def test_a_key_that_was_used_with_one_method_is_used_for_all(desk: Desk, key: str) -> None:
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
    callers = [desk.tenant.api, await desk.another_key(method)]
    before = await desk.counts()

    answers = await asyncio.gather(*(ask(callers[n % 2], request, key) for n in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert (
        await desk.counts() - before
        == {
            "CreateApplication": {"applications": 1, "audit_events": 1},
            "CreateEndpoint": {
                "endpoints": 1,
                "endpoint_secrets": 1,
                "endpoint_versions": 1,
                "audit_events": 1,
            },
            "CreateMessage": {"messages": 1, "deliveries": 1},
            "BatchCreateMessages": {"messages": 2, "deliveries": 2},
            "PublishMessages": {"messages": 1, "deliveries": 1},
        }[method]
    )


@pytest.mark.parametrize("method", OF_CALLERS)
async def test_of_different_requests_at_once_with_one_key_one_is_accepted(
    desk: Desk, key: str, method: str
) -> None:
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


async def test_fifty_messages_of_one_stream_with_one_key_make_one(desk: Desk, key: str) -> None:
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


@pytest.mark.parametrize("method", ["CreateMessage", "PublishMessages"])
async def test_a_request_that_fails_at_the_same_time_takes_the_key_from_nobody(
    desk: Desk, key: str, method: str
) -> None:
    def asked(one: CreateMessageRequest) -> Message:
        return one if method == "CreateMessage" else PublishMessagesRequest(message=one)

    failing, good = asked(message(to="nobody")), asked(message())
    outcomes = await asyncio.gather(
        *(ask(desk.tenant.api, one, key) for one in (failing, good, good)), return_exceptions=True
    )

    assert isinstance(outcomes[0], Refused)
    assert outcomes[0].refusal.cause in (("NOT_FOUND", "NOT_FOUND"), REUSED)
    assert outcomes[1] == outcomes[2] == await ask(desk.tenant.api, good, key)


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
async def test_an_answer_is_kept_for_12_hours(home: Home, key: str, method: str) -> None:
    clock = Clock()
    async with serving(home, clock=clock) as server:
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


async def test_an_answer_survives_a_stop_and_a_start(home: Home, key: str) -> None:
    async with serving(home) as server:
        desk = await Desk.of(server)
        first = await ask(desk.tenant.api, message(), key)

    async with serving(home) as server:
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
@settings(max_examples=20)
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
