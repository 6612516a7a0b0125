"""Watches that nobody reads."""

import contextlib
from collections.abc import AsyncIterator

import grpc.aio
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest, WatchAttemptsResponse
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub

from tests.acceptance.process import ServerProcess

# Behind it, a URL makes an event of more than 1,900 bytes.
LONG_QUERY = "?" + "q" * 1_900
# As little as a client can take in that does not read: the rest is left to the server.
_SMALL_WINDOW = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.http2.lookahead_bytes", 65_536),
    ("grpc.http2.bdp_probe", 0),
)
Call = grpc.aio.UnaryStreamCall[WatchAttemptsRequest, WatchAttemptsResponse]


@contextlib.asynccontextmanager
async def unread_watches(server: ServerProcess, count: int) -> AsyncIterator[list[Call]]:
    """Watches, each over a connection of its own, of which the first bookmark alone was read."""
    async with contextlib.AsyncExitStack() as stack:
        calls: list[Call] = []
        for _ in range(count):
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=_SMALL_WINDOW)
            )
            call = AttemptServiceStub(channel).WatchAttempts(
                WatchAttemptsRequest(), metadata=[("authorization", f"Bearer {server.api_key}")]
            )
            await call.read()
            calls.append(call)
        yield calls
