"""Calls of the API with raw requests, and refusals as values that tests compare."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from tests.server.api.rpcs import BY_REQUEST_TYPE, Rpc

# For a call, of which a busy machine may need many.
_SECONDS = 50.0

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Refusal:
    """A call, or one message of a batch or stream, that was refused, and what it was told."""

    status: Status

    @property
    def code(self) -> str:
        """The name of the gRPC status, such as `NOT_FOUND`."""
        return next(str(one.name) for one in grpc.StatusCode if one.value[0] == self.status.code)

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.status.message)

    @property
    def info(self) -> ErrorInfo:
        """The reason, which every refusal has."""
        (info,) = self._details(ErrorInfo)
        assert isinstance(info, ErrorInfo)
        return info

    @property
    def reason(self) -> str:
        """Such as `UID_TAKEN`."""
        return str(self.info.reason)

    @property
    def fields(self) -> list[str]:
        """The paths of the fields that are wrong."""
        return [
            violation.field
            for bad_request in self._details(BadRequest)
            for violation in bad_request.field_violations
        ]

    @property
    def resource(self) -> tuple[str, str]:
        """The type and the name of what was not found or exists already."""
        (info,) = self._details(ResourceInfo)
        return info.resource_type, info.resource_name

    @property
    def retry_after(self) -> timedelta | None:
        """How long to wait before another try; None when it does not help."""
        for info in self._details(RetryInfo):
            return info.retry_delay.ToTimedelta()  # type: ignore[no-any-return]
        return None

    @property
    def cause(self) -> tuple[str, str]:
        """Code and reason."""
        return self.code, self.reason

    def _details(self, kind: type[Any]) -> list[Any]:
        found = []
        for detail in self.status.details:
            message = kind()
            if detail.Unpack(message):
                found.append(message)
        return found


class Refused(Exception):
    """The call was refused, where a test counts on an answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal.status))
        self.refusal = refusal


class Api:
    """The API as the holder of one key sees it."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None) -> None:
        self._channel = channel
        self._metadata: Metadata = () if key is None else (("authorization", f"Bearer {key}"),)

    async def __call__(self, request: Message, *, idempotency_key: str | None = None) -> Any:
        """The answer to a unary call; which RPC it is, its type tells. Refused when there is
        none.
        """
        rpc = BY_REQUEST_TYPE[type(request)]
        assert not rpc.client_streams
        assert not rpc.server_streams
        keyed = () if idempotency_key is None else (("idempotency-key", idempotency_key),)
        (answer,) = await self.exchange(rpc, [request.SerializeToString()], keyed)
        return answer

    async def refusal(self, request: Message, *, idempotency_key: str | None = None) -> Refusal:
        """Why the call, of any kind, is refused; fails when it is not."""
        keyed = () if idempotency_key is None else (("idempotency-key", idempotency_key),)
        rpc = BY_REQUEST_TYPE[type(request)]
        return await self.refusal_of_bytes(rpc, request.SerializeToString(), keyed)

    async def refusal_of_bytes(self, rpc: Rpc, data: bytes, metadata: Metadata = ()) -> Refusal:
        """Why a call with these bytes as its request is refused; fails when it is not."""
        try:
            answers = await self.exchange(rpc, [data], metadata)
        except Refused as error:
            return error.refusal
        raise AssertionError(f"{rpc.method} was not refused: {answers}")

    async def exchange(
        self, rpc: Rpc, requests: Sequence[bytes], metadata: Metadata = ()
    ) -> list[Any]:
        """Sends the bytes of these requests, ends the sending, and gathers the answers.

        Of a stream that the server would not end, the first answer alone. Refused when the call is.
        """
        while True:
            try:
                return [answer async for answer in self._answers(rpc, requests, metadata)]
            except grpc.aio.AioRpcError as error:
                if not _hides_the_status(error):
                    raise Refused(refusal_of(error)) from None

    def open(
        self, rpc: Rpc, requests: Iterable[bytes] | AsyncIterable[bytes], metadata: Metadata = ()
    ) -> Any:
        """The call itself, for tests that read a stream step by step."""
        parse = rpc.response_type.FromString
        # The stubs of gRPC do not know that requests can be bytes.
        channel: Any = self._channel
        options: dict[str, Any] = {
            "metadata": (*self._metadata, *metadata),
            "timeout": _SECONDS,
        }
        if rpc.client_streams:
            return channel.stream_stream(rpc.path, None, parse)(requests, **options)
        assert isinstance(requests, Iterable)
        (request,) = requests
        if rpc.server_streams:
            return channel.unary_stream(rpc.path, None, parse)(request, **options)
        return channel.unary_unary(rpc.path, None, parse)(request, **options)

    async def _answers(
        self, rpc: Rpc, requests: Sequence[bytes], metadata: Metadata
    ) -> AsyncIterator[Any]:
        call = self.open(rpc, requests, metadata)
        if rpc.client_streams:
            async for answer in call:
                yield answer
        elif rpc.server_streams:
            yield await anext(aiter(call))
            call.cancel()
        else:
            yield await call


def _hides_the_status(error: grpc.aio.AioRpcError) -> bool:
    """Whether a client tells that it could not write in place of why the server had ended the call.

    By chance, where a server ends a stream before its first request came (grpc/grpc#36066).
    """
    is_internal = error.code() == grpc.StatusCode.INTERNAL
    return is_internal and 'Failed "execute_batch"' in (error.debug_error_string() or "")


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What a failed call was told; the `google.rpc.Status` agrees with the status of gRPC."""
    trailing = dict(error.trailing_metadata() or ())
    details = trailing.get("grpc-status-details-bin")
    assert isinstance(details, bytes), f"no google.rpc.Status came: {error!r}"
    status = Status.FromString(details)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    return Refusal(status)


def refusal_in(failure: Any) -> Refusal:
    """The refusal of one message of a batch or stream; it has the fields of a Status."""
    return Refusal(Status.FromString(failure.SerializeToString()))
