"""gRPC reflection under its present name; grpcio's package serves it under the old one."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME, aio

_PRESENT_NAME = "grpc.reflection.v1.ServerReflection"


def add_reflection(
    server: grpc.aio.Server, service_names: Sequence[str], stopping: asyncio.Event
) -> None:
    """Lets tools ask the server for its API, as v1 and as v1alpha, which differ in name alone.

    Tools keep the call open all the time, so it ends when `stopping` is set.
    """
    servicer = aio.ReflectionServicer([*service_names, _PRESENT_NAME, SERVICE_NAME])

    async def answer(requests: AsyncIterable[Any], context: object) -> AsyncIterator[Any]:
        # Its types leave out that it is a generator.
        responses: Any = servicer.ServerReflectionInfo(_until(stopping, requests), context)
        async for response in responses:
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (_PRESENT_NAME, SERVICE_NAME):
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})]
        )


async def _until(event: asyncio.Event, requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The requests that come before the event."""
    iterator = aiter(requests)
    ended = asyncio.ensure_future(event.wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(iterator, None))
            await asyncio.wait([following, ended], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                return
            request = following.result()
            if request is None:
                return
            yield request
    finally:
        ended.cancel()
