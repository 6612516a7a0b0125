"""What every call passes through, for every RPC there is."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    GetApplicationRequest,
    GetApplicationResponse,
    ListApplicationsRequest,
    ListApplicationsResponse,
)
from octohooks.v1.application_service_pb2_grpc import (
    ApplicationServiceServicer,
    add_ApplicationServiceServicer_to_server,
)
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest
from octohooks.v1.attempt_service_pb2_grpc import (
    AttemptServiceServicer,
    add_AttemptServiceServicer_to_server,
)
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import CreateEndpointRequest
from octohooks.v1.error_pb2 import ErrorReason
from octohooks.v1.message_pb2 import Message as WebhookMessage
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    ListMessagesRequest,
    PublishMessagesRequest,
)
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.calls_under_way import CallsUnderWay
from octohooks_server.api.gate import Gate
from octohooks_server.api.request_limits import RequestLimits
from octohooks_server.errors import NotFound, Unavailable
from octohooks_server.store import addressees, applications
from structlog.testing import capture_logs

from tests.server.api.calls import Api, Refused
from tests.server.api.rpcs import BY_METHOD, BY_REQUEST_TYPE, RPCS, Rpc
from tests.server.api.serving import Server, Tenant
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEGIN_WITH_A_STRING = [
    rpc for rpc in RPCS if rpc.request_type.DESCRIPTOR.fields[0].type == FieldDescriptor.TYPE_STRING
]
every_rpc = pytest.mark.parametrize("rpc", RPCS, ids=[rpc.method for rpc in RPCS])


def api_for(rpc: Rpc, server: Server, tenant: Tenant) -> Api:
    """The API for a key that opens the RPC."""
    return server.operator if rpc.service.endswith(".EnvironmentService") else tenant.api


@every_rpc
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff", id="a cut-off tag"),
        pytest.param(b"\x0f", id="a wire type that there is not"),
        pytest.param(b"\x0a\x05a", id="a cut-off field"),
        pytest.param(b"\x00\x01", id="a field with the number 0"),
    ],
)
@pytest.mark.one_database_is_enough
async def test_bytes_that_are_no_protobuf_message_are_refused(
    server: Server, shared_tenant: Tenant, rpc: Rpc, data: bytes
) -> None:
    refusal = await api_for(rpc, server, shared_tenant).refusal_of_bytes(rpc, data)

    assert refusal.cause == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    "rpc",
    BEGIN_WITH_A_STRING,
    ids=[rpc.method for rpc in BEGIN_WITH_A_STRING],
)
@pytest.mark.one_database_is_enough
async def test_a_string_that_is_no_utf_8_is_refused(
    server: Server, shared_tenant: Tenant, rpc: Rpc
) -> None:
    tag = rpc.request_type.DESCRIPTOR.fields[0].number << 3 | 2
    data = bytes([tag, 2]) + b"\xc3\x28"

    refusal = await api_for(rpc, server, shared_tenant).refusal_of_bytes(rpc, data)

    assert refusal.cause == ("INVALID_ARGUMENT", "MALFORMED_REQUEST")


def enum_paths(descriptor: Any) -> Iterator[list[FieldDescriptor]]:
    """The way to each enum field of a message, through the messages in it."""
    for field in descriptor.fields:
        if field.enum_type is not None:
            yield [field]
        elif field.message_type is not None and field.message_type.file.package == "octohooks.v1":
            yield from ([field, *rest] for rest in enum_paths(field.message_type))


ENUMS = [(rpc, path) for rpc in RPCS for path in enum_paths(rpc.request_type.DESCRIPTOR)]


def with_enum_value(message: Any, path: list[FieldDescriptor], value: int) -> str:
    """Sets the enum at the end of the way; answers its path as refusals name it."""
    field, *rest = path
    if rest:
        inner = getattr(message, field.name)
        name = f"{field.name}[0]" if field.is_repeated else field.name
        return f"{name}.{with_enum_value(inner.add() if field.is_repeated else inner, rest, value)}"
    if field.is_repeated:
        getattr(message, field.name).extend([1, value])
        return f"{field.name}[1]"
    setattr(message, field.name, value)
    return field.name


async def test_enums_are_found_wherever_requests_have_them() -> None:
    found = {f"{rpc.method} {'.'.join(field.name for field in path)}" for rpc, path in ENUMS}

    assert found >= {
        "CreateEndpoint endpoint.signature_type",
        "CreateEnvironment environment.default_signature_type",
        "ListAttempts outcomes",
        "ListDeliveries statuses",
        "UpdateOperationalWebhook values.signature_type",
        "WatchAttempts kinds",
    }


@pytest.mark.parametrize("value", [99, -1])
@pytest.mark.parametrize(
    ("rpc", "path"), ENUMS, ids=[f"{rpc.method}-{path[-1].name}" for rpc, path in ENUMS]
)
@pytest.mark.one_database_is_enough
async def test_an_enum_value_that_there_is_not_is_refused_and_named(
    server: Server, shared_tenant: Tenant, rpc: Rpc, path: list[FieldDescriptor], value: int
) -> None:
    request = rpc.request_type()
    field = with_enum_value(request, path, value)

    refusal = await api_for(rpc, server, shared_tenant).refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [field]


async def test_fields_that_this_release_does_not_know_are_passed_over(api: Api) -> None:
    """A newer client may set them."""
    request = CreateApplicationRequest(application=Application(uid="acme"))
    unknown = bytes([15 << 3 | 2, 3]) + b"new"

    await api.exchange(BY_METHOD["CreateApplication"], [request.SerializeToString() + unknown])

    assert (await api(GetApplicationRequest(application="acme"))).application.uid == "acme"


def message_request(**values: Any) -> CreateMessageRequest:
    message = WebhookMessage(**{"event_type": "e", "payload": b"{}", **values})
    return CreateMessageRequest(application="acme", message=message)


DEFECTS = [
    pytest.param(applications, "find", GetApplicationRequest(application="a"), id="a read"),
    pytest.param(applications, "create", CreateApplicationRequest(), id="a write"),
    pytest.param(addressees, "find", message_request(), id="a message"),
    pytest.param(
        addressees,
        "find",
        BatchCreateMessagesRequest(requests=[message_request()]),
        id="batch",
    ),
    pytest.param(
        addressees, "find", PublishMessagesRequest(message=message_request()), id="a stream"
    ),
    pytest.param(applications, "get_id", WatchAttemptsRequest(application="acme"), id="a watch"),
]


@pytest.mark.parametrize(("module", "function", "request_"), DEFECTS)
@pytest.mark.usefixtures("acme")
async def test_a_defect_of_ours_answers_internal_and_leaves_the_rest_to_the_log(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    function: str,
    request_: Message,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("password=hunter2")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(module, function, fail)
        refusal = await api.refusal(request_)

    assert refusal.cause == ("INTERNAL", "INTERNAL")
    correlation_id = refusal.info.metadata["correlation_id"]
    assert re.fullmatch("[0-9a-f]{32}", correlation_id)
    assert correlation_id in refusal.message
    for secret in ("hunter2", "RuntimeError", "Traceback", "octohooks_server"):
        assert secret not in str(refusal.status)
    (entry,) = [entry for entry in logs if entry["event"] == "call_failed"]
    assert entry["correlation_id"] == correlation_id
    assert entry["log_level"] == "error"
    assert entry["method"].endswith(BY_REQUEST_TYPE[type(request_)].method)
    assert "hunter2" in repr(entry["exc_info"])


@pytest.mark.usefixtures("acme")
async def test_a_defect_leaves_nothing_stored_and_the_server_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(addressees, "find", fail)
        await api.refusal(message_request(uid="m"))
        batch = BatchCreateMessagesRequest(requests=[message_request(uid="m")])
        await api.refusal(batch, idempotency_key="k")

    assert not (await api(ListMessagesRequest(application="acme"))).messages
    assert (await api(message_request(uid="m"))).message.uid == "m"
    assert (await api(batch, idempotency_key="k")).results[0].HasField("failure")


async def test_every_refusal_of_the_contract_has_a_listed_reason(api: Api) -> None:
    refusal = await api.refusal(GetApplicationRequest(application="nobody"))

    assert f"ERROR_REASON_{refusal.reason}" in set(ErrorReason.keys())
    assert refusal.info.domain == "octohooks"


@pytest.mark.parametrize("key", ["", "k" * 257], ids=["empty", "257 characters"])
async def test_an_idempotency_key_has_1_to_256_characters(api: Api, key: str) -> None:
    refusal = await api.refusal(CreateApplicationRequest(), idempotency_key=key)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["idempotency-key"]
    assert not (await api(ListApplicationsRequest())).applications


async def test_a_request_of_more_than_4_mib_is_refused(api: Api) -> None:
    request = CreateApplicationRequest(application=Application(name="n" * (4 << 20)))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.open(BY_METHOD["CreateApplication"], [request.SerializeToString()])

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.usefixtures("acme")
async def test_of_a_call_that_is_given_up_all_is_stored_or_nothing(
    server: Server, api: Api, octohooks: AsyncOctohooks
) -> None:
    """Here the database is locked by somebody else while callers come and lose patience."""
    await octohooks.endpoint.create("acme", url="https://example.com/", retry_schedule=[3600])
    requests: list[Message] = [
        CreateApplicationRequest(application=Application(uid="given-up")),
        CreateEndpointRequest(
            application="acme", endpoint=Endpoint(url="https://example.org/", disabled=True)
        ),
        message_request(uid="given-up"),
        BatchCreateMessagesRequest(requests=[message_request(uid="a"), message_request(uid="b")]),
    ]
    async with server.home.locked():
        for request in requests:
            call = api.open(BY_REQUEST_TYPE[type(request)], [request.SerializeToString()])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, timeout=0.1)

    last = await octohooks.message.create("acme", event_type="e", payload={})

    # What was under way has ended by now, since writes come one after another.
    messages = {one.id: one.uid async for one in octohooks.message.list("acme")}
    assert last.id in messages
    deliveries = [one async for one in octohooks.delivery.list()]
    assert {one.message for one in deliveries} == set(messages)
    assert ("a" in messages.values()) == ("b" in messages.values())
    for endpoint in [one async for one in octohooks.endpoint.list("acme")]:
        assert len(await octohooks.endpoint.secret("acme", endpoint.id)) == 1


async def request_id_of(call: Any) -> str:
    """What comes behind the answers, or with the status of a call that is refused."""
    with suppress(grpc.aio.AioRpcError):
        if isinstance(call, grpc.aio.UnaryUnaryCall):
            await call
        else:
            [answer async for answer in call]
    return str({entry[0]: entry[1] for entry in await call.trailing_metadata()}["request-id"])


@pytest.mark.one_database_is_enough
@every_rpc
async def test_every_answer_good_or_bad_carries_the_request_id_of_the_caller(
    server: Server, shared_tenant: Tenant, rpc: Rpc
) -> None:
    # A watch that is let in does not end by itself.
    callers = {server.api(None), server.operator, api_for(rpc, server, shared_tenant)}
    for api in callers - ({shared_tenant.api} if rpc.method == "WatchAttempts" else set()):
        call = api.open(rpc, [b""], (("request-id", "mine-1"),))
        assert await request_id_of(call) == "mine-1"


@pytest.mark.one_database_is_enough
@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ((("request-id", "a-1"),), "a-1"),
        ((("x-request-id", "b-2"),), "b-2"),
        ((("x-request-id", "b-2"), ("request-id", "a-1")), "a-1"),
        ((("request-id", "r" * 128),), "r" * 128),
        ((("request-id", "r" * 129),), None),
        ((("request-id", "two words"),), None),
        ((("request-id", ""),), None),
        ((), None),
    ],
    ids=["ours", "the other name", "both", "128 characters", "129", "a space", "empty", "none"],
)
async def test_a_sane_request_id_is_kept_and_another_is_replaced(
    shared_tenant: Tenant, metadata: Any, kept: str | None
) -> None:
    request = ListApplicationsRequest().SerializeToString()
    call = shared_tenant.api.open(BY_METHOD["ListApplications"], [request], metadata)

    request_id = await request_id_of(call)

    assert request_id == kept if kept else re.fullmatch("[0-9a-f]{32}", request_id)


async def test_the_request_id_finds_a_defect_in_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(applications, "find", fail)
        refusal = await api.refusal_of_bytes(
            BY_METHOD["GetApplication"],
            GetApplicationRequest(application="a").SerializeToString(),
            (("request-id", "mine-2"),),
        )

    assert refusal.info.metadata["correlation_id"] == "mine-2"
    (entry,) = [entry for entry in logs if entry["event"] == "call_failed"]
    assert entry["request_id"] == "mine-2"


@pytest.mark.one_database_is_enough
async def test_a_key_has_as_many_watches_as_it_may_and_others_are_not_held_up(
    server: Server, tenant: Tenant
) -> None:
    made = await tenant.octohooks.api_key.create(max_watches=2)
    limited, rpc = server.api(made.key), BY_METHOD["WatchAttempts"]
    watches = [limited.open(rpc, [b""]) for _ in range(2)]
    for watch in watches:
        await anext(aiter(watch))

    refusal = await limited.refusal(WatchAttemptsRequest())

    assert refusal.cause == ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHES")
    assert refusal.retry_after is not None
    await tenant.api.exchange(rpc, [b""])
    watches[0].cancel()

    async def opens() -> bool:
        try:
            return bool(await limited.exchange(rpc, [b""]))
        except Refused:
            return False

    await eventually(opens)
    watches[1].cancel()


@pytest.mark.one_database_is_enough
async def test_whoever_counts_calls_is_told_of_each_with_its_status(
    server: Server, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, bool]] = []

    def ended(method: str, code: str, seconds: float, *, is_stream: bool) -> None:
        assert seconds >= 0
        told.append((method, code, is_stream))

    calls = CallsUnderWay()
    grpc_server = grpc.aio.server()
    gate: Any = Gate(
        grpc_server,
        authenticator=Authenticator(server.database, operator_key="o" * 32, clock=now),
        database=server.database,
        limits=RequestLimits(0, seconds=monotonic),
        calls=calls,
        call_ended=ended,
    )
    add_ApplicationServiceServicer_to_server(Nothing(), gate)
    add_AttemptServiceServicer_to_server(NothingEither(), gate)
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        api = Api(channel, tenant.key)
        await api(ListApplicationsRequest())
        await api.refusal(GetApplicationRequest(application="a"))
        await api.refusal(CreateApplicationRequest())
        await Api(channel, None).refusal(ListApplicationsRequest())
        await api.refusal(WatchAttemptsRequest())
    await grpc_server.stop(None)

    assert told == [
        ("ApplicationService/ListApplications", "OK", False),
        ("ApplicationService/GetApplication", "NOT_FOUND", False),
        ("ApplicationService/CreateApplication", "UNIMPLEMENTED", False),
        ("ApplicationService/ListApplications", "UNAUTHENTICATED", False),
        ("AttemptService/WatchAttempts", "UNAVAILABLE", True),
    ]
    assert calls.count == 0


def now() -> datetime:
    return datetime.now(UTC)


class Nothing(ApplicationServiceServicer):
    """Serves one method, refuses another and does not know the rest."""

    async def ListApplications(self, request: Any, context: Any) -> ListApplicationsResponse:
        return ListApplicationsResponse()

    async def GetApplication(self, request: Any, context: Any) -> GetApplicationResponse:
        raise NotFound("application", request.application)


class NothingEither(AttemptServiceServicer):
    """Ends a stream before it begins."""

    async def WatchAttempts(self, request: Any, context: Any) -> AsyncIterator[Any]:
        raise Unavailable("not now")
        yield
