"""What every call passes through: who calls, what is asked, and how errors are told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import set_caller
from octohooks_server.api.calls_under_way import CallsUnderWay
from octohooks_server.api.enums import unknown_enum_values
from octohooks_server.api.status import internal, not_implemented, status_of
from octohooks_server.errors import InvalidArgument, OctohooksError

_OURS = "/octohooks."
log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]
Parse = Callable[[bytes], Message]


class Gate(grpc.aio.ServerInterceptor):
    """Authenticates, parses and answers errors for all methods of Octohooks' own services.

    Requests arrive here as bytes, since gRPC would answer malformed ones as INTERNAL. Health
    and reflection pass untouched.
    """

    def __init__(self, authenticator: Authenticator, calls: CallsUnderWay) -> None:
        self._authenticator = authenticator
        self._calls = calls
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(_OURS):
            return handler
        guarded = self._guard(method, handler)
        self._guarded[method] = guarded
        return guarded

    def _guard(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        parse = _checked_parse(handler.request_deserializer)
        serialize = handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary, parse), None, serialize
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._server_stream(method, handler.unary_stream, parse), None, serialize
            )
        return grpc.stream_stream_rpc_method_handler(
            self._both_streams(method, handler.stream_stream, parse), None, serialize
        )

    def _unary(self, method: str, serve: Any, parse: Parse) -> Any:
        async def guarded(data: bytes, context: Context) -> Any:
            with self._calls:
                try:
                    await self._admit(context)
                    return await serve(parse(data), context)
                except Exception as error:
                    await _refuse(method, error, context)

        return guarded

    def _server_stream(self, method: str, serve: Any, parse: Parse) -> Any:
        async def guarded(data: bytes, context: Context) -> AsyncIterator[Any]:
            with self._calls:
                try:
                    await self._admit(context)
                    async for response in serve(parse(data), context):
                        yield response
                except Exception as error:
                    await _refuse(method, error, context)

        return guarded

    def _both_streams(self, method: str, serve: Any, parse: Parse) -> Any:
        async def guarded(data: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async def requests() -> AsyncIterator[Message]:
                async for one in data:
                    yield parse(one)

            with self._calls:
                try:
                    await self._admit(context)
                    async for response in serve(requests(), context):
                        yield response
                except Exception as error:
                    await _refuse(method, error, context)

        return guarded

    async def _admit(self, context: Context) -> None:
        metadata = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        set_caller(await self._authenticator.identify(metadata))


def _checked_parse(deserialize: Callable[[bytes], Any] | None) -> Parse:
    """Parses a request, and refuses what is no such message or names unknown enum values."""

    assert deserialize is not None

    def parse(data: bytes) -> Message:
        try:
            request: Message = deserialize(data)
        except DecodeError:
            raise InvalidArgument.of(
                "request",
                "The bytes are not the protobuf message that the method takes.",
                reason="MALFORMED_REQUEST",
            ) from None
        unknown = unknown_enum_values(request)
        if unknown:
            raise InvalidArgument(
                (path, f"{number} is not a value of this enum.") for path, number in unknown
            )
        return request

    return parse


async def _refuse(method: str, error: Exception, context: Context) -> None:
    """Ends the call with the status of the error; the log alone gets what a client must not see."""
    if isinstance(error, grpc.aio.AbortError | grpc.aio.BaseError):
        raise error
    status: Status
    if isinstance(error, OctohooksError):
        status = status_of(error)
    elif isinstance(error, NotImplementedError):
        status = not_implemented(method.rpartition("/")[2])
    else:
        correlation_id = uuid.uuid4().hex
        log.error("call_failed", method=method, correlation_id=correlation_id, exc_info=error)
        status = internal(correlation_id)
    await context.abort_with_status(rpc_status.to_status(status))
