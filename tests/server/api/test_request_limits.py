"""How many requests per second each key may make."""

from datetime import timedelta

import pytest
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest
from octohooks.v1.application_service_pb2 import ListApplicationsRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    PublishMessagesRequest,
)
from octohooks_server.api.caller import Caller
from octohooks_server.api.request_limits import RequestLimits
from octohooks_server.errors import ResourceExhausted

from tests.server.api.calls import Api
from tests.server.api.conftest import NewHome
from tests.server.api.rpcs import BY_METHOD
from tests.server.api.serving import Server, Tenant, serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

LIMITED = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
OPERATOR = Caller(None, None)


def key(name: str = "key_1", *, limit: int = 0) -> Caller:
    """Somebody with a key that has a limit of its own, or none."""
    return Caller("env_1", name, max_requests_per_second=limit)


class Time:
    """Seconds that a test lets pass, and how long it was waited for them."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def taken(limits: RequestLimits, caller: Caller, most: int = 100) -> int:
    """How many requests are let through, one after the other."""
    for number in range(most):
        try:
            limits.take(caller)
        except ResourceExhausted:
            return number
    return most


def wait_of(limits: RequestLimits, caller: Caller) -> timedelta:
    """How long a request that is refused is told to wait."""
    with pytest.raises(ResourceExhausted) as caught:
        limits.take(caller)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


async def test_a_second_s_worth_may_come_at_once_and_as_many_each_second() -> None:
    time = Time()
    limits = RequestLimits(10, seconds=time)

    assert taken(limits, key()) == 10
    time.now += 0.5
    assert taken(limits, key()) == 5
    time.now += 60
    assert taken(limits, key()) == 10


async def test_a_refusal_tells_when_the_next_request_passes() -> None:
    time = Time()
    limits = RequestLimits(4, seconds=time)
    taken(limits, key())

    wait = wait_of(limits, key())

    assert wait == timedelta(seconds=0.25)
    time.now += wait.total_seconds()
    assert taken(limits, key()) == 1


async def test_what_is_refused_does_not_count() -> None:
    time = Time()
    limits = RequestLimits(10, seconds=time)
    taken(limits, key())

    for _ in range(1_000):
        wait_of(limits, key())

    time.now += 1
    assert taken(limits, key()) == 10


async def test_keys_do_not_use_up_what_others_may() -> None:
    limits = RequestLimits(10, seconds=Time())

    assert taken(limits, key("key_1")) == 10
    assert taken(limits, key("key_2")) == 10


async def test_a_limit_of_its_own_is_the_one_that_counts() -> None:
    limits = RequestLimits(10, seconds=Time())

    assert taken(limits, key("smaller", limit=3)) == 3
    assert taken(limits, key("larger", limit=30)) == 30


async def test_the_operator_and_keys_where_no_limit_is_set_have_none() -> None:
    time = Time()

    assert taken(RequestLimits(1, seconds=time), OPERATOR) == 100
    assert taken(RequestLimits(0, seconds=time), key()) == 100
    await RequestLimits(0, seconds=time, sleep=time.sleep).wait(key())
    assert not time.waits


async def test_a_batch_passes_whole_and_is_paid_for_afterwards() -> None:
    time = Time()
    limits = RequestLimits(10, seconds=time)

    limits.take(key())
    limits.charge(key(), 99)

    assert wait_of(limits, key()).total_seconds() == pytest.approx(9.1)


async def test_what_comes_on_a_stream_waits_for_its_turn() -> None:
    time = Time()
    limits = RequestLimits(2, seconds=time, sleep=time.sleep)

    for _ in range(5):
        await limits.wait(key())

    assert time.waits == pytest.approx([0.5, 1.0, 1.5])


async def test_keys_that_have_been_quiet_are_forgotten() -> None:
    time = Time()
    limits = RequestLimits(10, seconds=time)

    for number in range(25_000):
        limits.take(key(f"key_{number}"))
        time.now += 0.001

    assert len(limits._full_at) <= 10_100


def batch(size: int) -> BatchCreateMessagesRequest:
    """Messages for `acme`."""
    message = Message(event_type="e", payload=b"1")
    one = CreateMessageRequest(application="acme", message=message)
    return BatchCreateMessagesRequest(requests=[one] * size)


async def limited_key(server: Server, tenant: Tenant, limit: int) -> Api:
    """Somebody with a key that may make so many requests per second."""
    await tenant.octohooks.application.update("acme", allow_missing=True)
    asked = CreateApiKeyRequest(api_key=ApiKey(max_requests_per_second=limit))
    return server.api((await tenant.api(asked)).key)


async def test_each_message_of_a_batch_counts_and_others_are_served_as_before(
    server: Server, tenant: Tenant
) -> None:
    flooding = await limited_key(server, tenant, 1)
    await flooding(batch(100))

    refusal = await flooding.refusal(ListApplicationsRequest())

    assert refusal.cause == LIMITED
    assert refusal.retry_after is not None
    assert timedelta(seconds=10) < refusal.retry_after < timedelta(seconds=101)
    assert (await tenant.api(ListApplicationsRequest())).applications


async def test_a_batch_that_is_too_large_does_not_lock_its_key_out(
    server: Server, tenant: Tenant
) -> None:
    limited = await limited_key(server, tenant, 1_000)

    refusal = await limited.refusal(batch(10_000))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert (await limited(ListApplicationsRequest())).applications


async def test_a_limited_key_learns_no_more_than_that_it_is(server: Server, tenant: Tenant) -> None:
    flooding = await limited_key(server, tenant, 1)
    await flooding(batch(100))

    for data in (b"", b"\xff"):
        refusal = await flooding.refusal_of_bytes(BY_METHOD["ListEnvironments"], data)
        assert refusal.cause == LIMITED


async def test_messages_on_a_stream_wait_and_are_not_refused(
    server: Server, tenant: Tenant
) -> None:
    streaming = await limited_key(server, tenant, 100)
    # The opening of the stream counts as well.
    await streaming(batch(98))
    request = PublishMessagesRequest(message=batch(1).requests[0]).SerializeToString()

    answers = await streaming.exchange(BY_METHOD["PublishMessages"], [request] * 5)

    assert [answer.number for answer in answers] == [1, 2, 3, 4, 5]
    assert all(answer.result.HasField("message") for answer in answers)


async def test_the_operator_sets_the_limit_of_keys_without_one(new_home: NewHome) -> None:
    async with new_home() as home, serving(home, max_requests_per_second=1) as server:
        tenant = await server.new_tenant()
        own = ApiKey(max_requests_per_second=100_000)
        larger = await server.operator(CreateApiKeyRequest(environment=tenant.id, api_key=own))

        for api in (tenant.api, server.api(larger.key)):
            await api(batch(100))

        assert (await tenant.api.refusal(ListApplicationsRequest())).cause == LIMITED
        await server.api(larger.key)(ListApplicationsRequest())


async def test_a_key_gets_no_key_that_may_do_more_than_the_operator_s_limit(
    new_home: NewHome,
) -> None:
    async with new_home() as home, serving(home, max_requests_per_second=500) as server:
        api = (await server.new_tenant()).api

        refusal = await api.refusal(
            CreateApiKeyRequest(api_key=ApiKey(max_requests_per_second=501))
        )

        assert refusal.fields == ["api_key.max_requests_per_second"]
