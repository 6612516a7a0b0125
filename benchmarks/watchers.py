"""The watchers: a process with open watches, each of which has to see every event in order."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc.aio
import uvloop
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest, WatchAttemptsResponse
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub

from benchmarks.equipment import serve

_Call: TypeAlias = "grpc.aio.UnaryStreamCall[WatchAttemptsRequest, WatchAttemptsResponse]"

_CHANNELS = 8
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))


def digest_of(attempt_ids: Sequence[str]) -> str:
    """What a watch that saw these attempts in this order answers."""
    return hashlib.sha256("".join(attempt_ids).encode()).hexdigest()


@dataclass(slots=True)
class _Seen:
    """What one watch has seen."""

    count: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    last_at: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)


class _Watchers:
    def __init__(self) -> None:
        self._seen: list[_Seen] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[grpc.aio.Channel] = []

    async def start(self, target: str, api_key: str, count: int) -> None:
        """Returns once so many watches have begun, and nothing is missed from then on."""
        self._channels = [
            grpc.aio.insecure_channel(target, options=_OPTIONS) for _ in range(_CHANNELS)
        ]
        stubs = [AttemptServiceStub(channel) for channel in self._channels]
        metadata = (("authorization", f"Bearer {api_key}"),)
        for number in range(count):
            stub = stubs[number % _CHANNELS]
            call = stub.WatchAttempts(WatchAttemptsRequest(), metadata=metadata)
            await call.read()
            seen = _Seen()
            self._seen.append(seen)
            self._tasks.append(asyncio.create_task(_watch(call, seen)))

    async def catch_up(self, events: int, seconds: float) -> bool:
        """Waits until each watch has seen so many events; False when that takes too long."""
        try:
            async with asyncio.timeout(seconds):
                for one in self._seen:
                    while one.count < events:
                        one.more.clear()
                        await one.more.wait()
        except TimeoutError:
            return False
        return True

    async def finish(self) -> dict[str, Any]:
        """Ends the watches; answers how many events each saw, and when the last one came."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))
        return {
            "counts": [one.count for one in self._seen],
            "digests": [one.digest.hexdigest() for one in self._seen],
            "last_at": max(one.last_at for one in self._seen),
        }


async def _watch(call: _Call, seen: _Seen) -> None:
    while isinstance(response := await call.read(), WatchAttemptsResponse):
        for event in response.events:
            seen.digest.update(event.attempt.id.encode())
        if response.events:
            seen.count += len(response.events)
            seen.last_at = time.time_ns()
            seen.more.set()


async def _run() -> None:
    watchers = _Watchers()
    await serve({"start": watchers.start, "catch_up": watchers.catch_up, "finish": watchers.finish})


if __name__ == "__main__":
    uvloop.run(_run())
