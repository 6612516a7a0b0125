"""What any gRPC client can rely on: health, reflection, and refusals before a method runs."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from octohooks.calls import SERVICES
from octohooks.v1.attempt_service_pb2 import ListDeliveriesRequest, ListDeliveriesResponse
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED

from tests.acceptance.conftest import StartServer
from tests.acceptance.health import SERVING, health
from tests.acceptance.process import OPERATOR_KEY, ServerProcess

SERVICE_NAMES = sorted(service.full_name for service in SERVICES)
UNARY = [
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
    if not method.client_streaming and not method.server_streaming
]
_DETAILS = "grpc-status-details-bin"


@pytest.fixture
async def channel(server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


async def refusal(
    channel: grpc.aio.Channel, path: str, request: bytes, authorization: str | None
) -> grpc.aio.AioRpcError:
    """How a call with these raw bytes is refused."""
    metadata = () if authorization is None else (("authorization", authorization),)
    call: Any = channel.unary_unary(path)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(request, metadata=metadata)
    return refused.value


def details_of(error: grpc.aio.AioRpcError) -> bytes:
    (value,) = [value for key, value in error.trailing_metadata() if key == _DETAILS]
    assert isinstance(value, bytes)
    return value


@pytest.mark.parametrize("service", ["", *SERVICE_NAMES])
async def test_the_health_of_the_server_and_of_each_service_is_serving(
    channel: grpc.aio.Channel, service: str
) -> None:
    assert await health(channel, service) == SERVING


async def test_the_health_of_a_service_that_is_none_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health(channel, "no.such.Service")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_and_describes_them(
    channel: grpc.aio.Channel, version: str
) -> None:
    """Both versions: clients in use know one or the other. Their messages are the same bytes."""
    reflect = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    requests = [ServerReflectionRequest(list_services="")]
    requests += [ServerReflectionRequest(file_containing_symbol=name) for name in SERVICE_NAMES]
    answers = [answer async for answer in reflect(iter(requests))]
    listed = {service.name for service in answers[0].list_services_response.service}
    assert {*SERVICE_NAMES, "grpc.health.v1.Health"} <= listed
    for name, answer in zip(SERVICE_NAMES, answers[1:], strict=True):
        files = map(
            FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto
        )
        assert any(
            f"{file.package}.{service.name}" == name for file in files for service in file.service
        )


async def test_reflection_can_be_switched_off(start_server: StartServer) -> None:
    server = await start_server(reflection="false")
    async with grpc.aio.insecure_channel(server.address) as channel:
        for version in ("v1", "v1alpha"):
            path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            call: Any = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(b"")
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert await health(channel) == SERVING


@pytest.mark.parametrize("path", UNARY)
async def test_bytes_that_are_no_such_message_are_an_invalid_argument(
    channel: grpc.aio.Channel, server: ServerProcess, path: str
) -> None:
    # Who may not call learns nothing about the request.
    key = OPERATOR_KEY if "/octohooks.v1.EnvironmentService/" in path else server.api_key
    # Field 1 with a length that goes past the end.
    error = await refusal(channel, path, b"\x0a\xff\x01x", f"Bearer {key}")
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert _info(error).reason == "MALFORMED_REQUEST"


async def test_an_unknown_enum_value_is_an_invalid_argument_that_names_the_field(
    channel: grpc.aio.Channel, server: ServerProcess
) -> None:
    # Open enums take any number on the wire.
    unknown: Any = 99
    request = ListDeliveriesRequest(statuses=[DELIVERY_STATUS_FAILED, unknown])
    path = "/octohooks.v1.AttemptService/ListDeliveries"
    error = await refusal(channel, path, request.SerializeToString(), f"Bearer {server.api_key}")
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = _detail(error, BadRequest()).field_violations
    assert violation.field == "statuses[1]"


@pytest.mark.parametrize("path", UNARY)
async def test_whoever_shows_no_valid_key_gets_the_same_bytes_whatever_the_cause(
    channel: grpc.aio.Channel, server: ServerProcess, path: str
) -> None:
    refusals = [
        await refusal(channel, path, request, authorization)
        for authorization in (
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer unknown",
            f"Bearer {server.api_key[:-1]}",
            f"Bearer {server.api_key}x",
            f"Bearer {OPERATOR_KEY}x",
            f"Basic {server.api_key}",
            server.api_key,
        )
        # Whether the request would be right is no business of a stranger's.
        for request in (b"", b"\x0a\xff\x01x")
    ]
    assert {error.code() for error in refusals} == {grpc.StatusCode.UNAUTHENTICATED}
    assert len({error.details() for error in refusals}) == 1
    assert len({details_of(error) for error in refusals}) == 1
    assert _info(refusals[0]).reason == "INVALID_API_KEY"


async def test_the_scheme_of_a_key_is_read_in_any_case(
    channel: grpc.aio.Channel, server: ServerProcess
) -> None:
    call = channel.unary_unary(
        "/octohooks.v1.AttemptService/ListDeliveries",
        request_serializer=ListDeliveriesRequest.SerializeToString,
        response_deserializer=ListDeliveriesResponse.FromString,
    )
    for scheme in ("bearer", "BEARER"):
        metadata = (("authorization", f"{scheme} {server.api_key}"),)
        assert isinstance(
            await call(ListDeliveriesRequest(), metadata=metadata), ListDeliveriesResponse
        )


async def test_a_request_that_is_too_large_is_refused_and_the_server_goes_on(
    channel: grpc.aio.Channel, server: ServerProcess
) -> None:
    path = "/octohooks.v1.MessageService/CreateMessage"
    error = await refusal(channel, path, bytes(5 << 20), f"Bearer {server.api_key}")
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await health(channel) == SERVING


def _detail(error: grpc.aio.AioRpcError, detail: BadRequest) -> BadRequest:
    status = Status.FromString(details_of(error))
    assert any(one.Unpack(detail) for one in status.details)
    return detail


def _info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    info = ErrorInfo()
    status = Status.FromString(details_of(error))
    assert any(one.Unpack(info) for one in status.details)
    return info
