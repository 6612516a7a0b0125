"""What every call passes through: who calls, what the key opens, and how errors are told."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from random import getrandbits
from time import perf_counter
from typing import Any, NoReturn, Protocol

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from octohooks.v1.access_pb2 import Access

from octohooks_server.api.access import access_of, require_access
from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import Call, Context, set_call
from octohooks_server.api.calls_under_way import CallsUnderWay
from octohooks_server.api.confinement import confine, names_application
from octohooks_server.api.enums import has_enums, unknown_enum_values
from octohooks_server.api.generic_handlers import GenericHandlers, Handler
from octohooks_server.api.request_limits import MAX_BATCH, RequestLimits
from octohooks_server.api.status import internal, not_implemented, status_of
from octohooks_server.errors import InvalidArgument, OctohooksError
from octohooks_server.store.database import Database

__all__ = ["Context", "Gate"]

_REQUEST_ID = "request-id"
# Visible ASCII, since it goes into metadata and log lines as it is.
_SANE_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_IDEMPOTENCY_KEY = 256
log = structlog.get_logger()


class CallEnded(Protocol):
    """Is told of every call: `Service/Method`, the name of its status, and how long it took."""

    def __call__(self, method: str, code: str, seconds: float, *, is_stream: bool) -> None: ...


def tell_nobody(method: str, code: str, seconds: float, *, is_stream: bool) -> None:
    """For servers that count no calls."""


@dataclass(frozen=True, slots=True)
class _Method:
    """What the gate knows about an RPC before it is called."""

    # Such as `EndpointService/UpdateEndpoint`.
    name: str
    access: Access.ValueType
    parse: Callable[[bytes], Message]
    names_application: bool
    # The field that holds one message each, of a batch.
    batch: str | None
    client_streams: bool


class Gate(GenericHandlers):
    """Guards the methods of Octohooks' own services; services are added to this, not to the server.

    Requests arrive here as bytes, since gRPC would answer malformed ones as INTERNAL. Every answer,
    good or bad, carries the call's `request-id` in its trailing metadata.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        *,
        authenticator: Authenticator,
        database: Database,
        limits: RequestLimits,
        calls: CallsUnderWay,
        call_ended: CallEnded = tell_nobody,
    ) -> None:
        """`call_ended` is told of every call, whether it was answered, refused or given up."""
        super().__init__(server)
        self._authenticator = authenticator
        self._database = database
        self._limits = limits
        self._calls = calls
        self._call_ended = call_ended

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        """Serves these methods of a service, guarded; what generated code calls.

        ValueError when the contract does not say who may call one of them.
        """
        service = descriptor_pool.Default().FindServiceByName(service_name)
        guarded = {
            name: self._guard(service.methods_by_name[name], handler)
            for name, handler in handlers.items()
        }
        super().add_registered_method_handlers(service_name, guarded)

    def _guard(self, descriptor: MethodDescriptor, handler: Handler) -> Handler:
        method = _Method(
            name=f"{descriptor.containing_service.name}/{descriptor.name}",
            access=access_of(descriptor),
            parse=_checked_parse(descriptor, handler.request_deserializer),
            names_application=names_application(descriptor.input_type),
            batch="requests" if "requests" in descriptor.input_type.fields_by_name else None,
            client_streams=descriptor.client_streaming,
        )
        serialize = handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary), None, serialize
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._server_stream(method, handler.unary_stream), None, _unless_bytes(serialize)
            )
        return grpc.stream_stream_rpc_method_handler(
            self._both_streams(method, handler.stream_stream), None, serialize
        )

    def _unary(self, method: _Method, serve: Any) -> Any:
        ended = self._call_ended

        async def guarded(data: bytes, context: Context) -> Any:
            began = perf_counter()
            code = "CANCELLED"
            with self._calls:
                call = _begin(method, context)
                try:
                    await self._admit(method, call)
                    response = await serve(await self._request(method, call, data), context)
                    code = "OK"
                    return response
                except Exception as error:
                    status = _status_of(call, error)
                    code = Code.Name(status.code)
                    await _refuse(call, status)
                finally:
                    ended(method.name, code, perf_counter() - began, is_stream=False)

        return guarded

    def _server_stream(self, method: _Method, serve: Any) -> Any:
        async def responses(call: Call, data: bytes) -> AsyncIterator[Any]:
            async for response in serve(await self._request(method, call, data), call.context):
                yield response

        return self._stream(method, responses)

    def _both_streams(self, method: _Method, serve: Any) -> Any:
        async def requests(call: Call, data: AsyncIterator[bytes]) -> AsyncIterator[Message]:
            async for one in data:
                # While it waits, nothing more is read, so that the caller's sends wait too.
                await self._limits.wait(call.caller)
                yield method.parse(one)

        def responses(call: Call, data: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            answered: AsyncIterator[Any] = serve(requests(call, data), call.context)
            return answered

        return self._stream(method, responses)

    def _stream(self, method: _Method, responses: Callable[[Call, Any], AsyncIterator[Any]]) -> Any:
        ended = self._call_ended

        async def guarded(data: Any, context: Context) -> AsyncIterator[Any]:
            began = perf_counter()
            code = "CANCELLED"
            with self._calls:
                call = _begin(method, context)
                try:
                    await self._admit(method, call)
                    async for response in responses(call, data):
                        yield response
                    code = "OK"
                except Exception as error:
                    status = _status_of(call, error)
                    code = Code.Name(status.code)
                    await _refuse(call, status)
                finally:
                    ended(method.name, code, perf_counter() - began, is_stream=True)

        return guarded

    async def _admit(self, method: _Method, call: Call) -> None:
        """Lets the call in, or raises what keeps it out, before what it asks is looked at."""
        call.caller = caller = await self._authenticator.identify(call.authorization)
        self._limits.take(caller)
        require_access(caller, method.access)
        key = call.idempotency_key
        if key is not None and not 1 <= len(key) <= _MAX_IDEMPOTENCY_KEY:
            raise InvalidArgument.of(
                "idempotency-key", f"An idempotency key has 1 to {_MAX_IDEMPOTENCY_KEY} characters."
            )

    async def _request(self, method: _Method, call: Call, data: bytes) -> Message:
        """The one request of a call, about nothing but what the key opens."""
        request = method.parse(data)
        if method.batch is not None:
            # The first was counted with the call, and a batch that is too large is refused.
            count = len(getattr(request, method.batch))
            self._limits.charge(call.caller, count - 1 if count <= MAX_BATCH else 0)
        if method.names_application and call.caller.application_id is not None:
            await confine(self._database, request, call.caller)
        return request


def _unless_bytes(serialize: Any) -> Callable[[Message | bytes], bytes]:
    """For responses that many calls share, and that come as they are on the wire already."""
    return lambda response: response if isinstance(response, bytes) else serialize(response)


def _begin(method: _Method, context: Context) -> Call:
    """The call, with what its metadata says."""
    authorization, idempotency_key, request_id = "", None, ""
    metadata: Any = context.invocation_metadata() or ()
    for key, value in metadata:
        if key == "authorization":
            authorization = value
        elif key == "idempotency-key":
            idempotency_key = value
        elif key == _REQUEST_ID or (key == "x-request-id" and not request_id):
            request_id = value
    if not request_id or not _SANE_REQUEST_ID.fullmatch(request_id):
        # It tells calls apart and is no secret.
        request_id = f"{getrandbits(128):032x}"
    call = Call(method.name, request_id, authorization, idempotency_key, context)
    set_call(call)
    context.set_trailing_metadata(((_REQUEST_ID, request_id),))
    return call


def _checked_parse(
    descriptor: MethodDescriptor, deserialize: Callable[[bytes], Any] | None
) -> Callable[[bytes], Message]:
    """Parses a request, and refuses what is no such message or names unknown enum values."""

    assert deserialize is not None
    may_hold_enums = has_enums(descriptor.input_type)

    def parse(data: bytes) -> Message:
        try:
            request: Message = deserialize(data)
        except DecodeError:
            raise InvalidArgument.of(
                "request",
                "The bytes are not the protobuf message that the method takes.",
                reason="MALFORMED_REQUEST",
            ) from None
        if may_hold_enums:
            unknown = unknown_enum_values(request)
            if unknown:
                raise InvalidArgument(
                    (path, f"{number} is not a value of this enum.") for path, number in unknown
                )
        return request

    return parse


def _status_of(call: Call, error: Exception) -> Status:
    """What to answer to a call that failed; the log alone gets what a client must not see."""
    if isinstance(error, grpc.aio.AbortError | grpc.aio.BaseError):
        raise error
    if isinstance(error, OctohooksError):
        return status_of(error)
    if isinstance(error, NotImplementedError):
        return not_implemented(call.rpc)
    log.error(
        "call_failed",
        method=call.method,
        request_id=call.request_id,
        correlation_id=call.request_id,
        exc_info=error,
    )
    return internal(call.request_id)


async def _refuse(call: Call, status: Status) -> NoReturn:
    """Ends the call with this status."""
    refusal = rpc_status.to_status(status)
    trailing = (*(refusal.trailing_metadata or ()), (_REQUEST_ID, call.request_id))
    await call.context.abort(refusal.code, refusal.details, trailing)
    raise AssertionError("abort raises")
