"""The callers: a process that sends messages in one of three ways and measures the answers.

It uses the generated gRPC stubs and not the SDK, since what it costs takes CPU time from the server
on the same machine.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import grpc.aio
import uvloop
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    BatchCreateMessagesRequest,
    CreateMessageRequest,
    PublishMessagesRequest,
)
from octohooks.v1.message_service_pb2_grpc import MessageServiceStub

from benchmarks.equipment import serve
from benchmarks.payload import Payloads
from benchmarks.scenarios import MESSAGES_PER_BATCH, STREAM_WINDOW, Mode

if TYPE_CHECKING:
    from octohooks.v1.message_service_pb2_grpc import MessageServiceAsyncStub

_EVENT_TYPE = "invoice.paid"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    # Else channels in one process share a connection, and so one of several servers.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Task:
    """What to send, to whom, and how fast."""

    mode: Mode
    count: int
    payload_bytes: int
    # The applications that get them in turn, by ID or UID.
    applications: Sequence[str]
    # How many calls are under way at once, over so many connections.
    callers: int
    connections: int
    idempotency_keys: bool
    # Messages per second, for unary calls alone; None sends as fast as answers come.
    rate: float | None
    # Nothing is sent any more after this time.
    seconds: float


@dataclass(slots=True)
class Report:
    """What was accepted."""

    # Message ID and the number of its application.
    accepted: list[tuple[str, int]] = field(default_factory=list)
    # From the call, or the write on a stream, to the answer; one each.
    latencies_us: list[int] = field(default_factory=list)
    # Nanoseconds since the epoch.
    first_sent_at: int = 0
    last_accepted_at: int = 0
    refused: int = 0
    refusal: str = ""


class _Sender:
    """Carries out one task."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], api_key: str, task: Task) -> None:
        self._stubs = [MessageServiceStub(channel) for channel in channels]
        self._authorization = ("authorization", f"Bearer {api_key}")
        self._task = task
        self._payloads = Payloads(task.payload_bytes)
        self._numbers = iter(range(task.count))
        self._ends_at = time.monotonic() + task.seconds
        self._report = Report()

    async def run(self) -> Report:
        self._report.first_sent_at = time.time_ns()
        if self._task.rate is not None:
            await self._send_paced(self._task.rate)
        else:
            send = {
                "unary": self._send_unary,
                "batch": self._send_batches,
                "stream": self._send_stream,
            }[self._task.mode]
            await asyncio.gather(
                *(
                    send(self._stubs[caller % len(self._stubs)])
                    for caller in range(self._task.callers)
                )
            )
        return self._report

    def _take(self) -> Iterator[int]:
        """The numbers of messages that nobody has sent yet, as long as there is time."""
        for number in self._numbers:
            if time.monotonic() > self._ends_at:
                return
            yield number

    def _application(self, number: int) -> int:
        return number % len(self._task.applications)

    def _request(self, number: int) -> CreateMessageRequest:
        return CreateMessageRequest(
            application=self._task.applications[self._application(number)],
            message=Message(event_type=_EVENT_TYPE, payload=self._payloads.now()),
        )

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        if not self._task.idempotency_keys:
            return (self._authorization,)
        return (self._authorization, ("idempotency-key", uuid.uuid4().hex))

    def _note(self, ids: Sequence[tuple[str, int]], began: float) -> None:
        self._report.accepted.extend(ids)
        self._report.latencies_us.append(round((time.perf_counter() - began) * 1e6))
        self._report.last_accepted_at = time.time_ns()

    def _refuse(self, error: str) -> None:
        self._report.refused += 1
        self._report.refusal = error

    async def _send_unary(self, stub: "MessageServiceAsyncStub") -> None:
        for number in self._take():
            await self._send_one(stub, number)

    async def _send_one(self, stub: "MessageServiceAsyncStub", number: int) -> None:
        began = time.perf_counter()
        try:
            answer = await stub.CreateMessage(self._request(number), metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            self._refuse(str(error.details()))
            return
        self._note([(answer.message.id, self._application(number))], began)

    async def _send_paced(self, rate: float) -> None:
        """Sends when it is time, whether or not earlier calls have been answered."""
        under_way: set[asyncio.Task[None]] = set()
        start = time.monotonic()
        for number in self._take():
            wait = start + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            stub = self._stubs[number % len(self._stubs)]
            call = asyncio.create_task(self._send_one(stub, number))
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _send_batches(self, stub: "MessageServiceAsyncStub") -> None:
        while numbers := list(islice(self._take(), MESSAGES_PER_BATCH)):
            began = time.perf_counter()
            batch = BatchCreateMessagesRequest(requests=map(self._request, numbers))
            try:
                answer = await stub.BatchCreateMessages(batch, metadata=self._metadata())
            except grpc.aio.AioRpcError as error:
                self._refuse(str(error.details()))
                continue
            accepted = []
            for number, result in zip(numbers, answer.results, strict=True):
                if result.HasField("message"):
                    accepted.append((result.message.id, self._application(number)))
                else:
                    self._refuse(result.failure.message)
            self._note(accepted, began)

    async def _send_stream(self, stub: "MessageServiceAsyncStub") -> None:
        room = asyncio.Semaphore(STREAM_WINDOW)
        sent: list[tuple[int, float]] = []

        async def requests() -> AsyncIterator[PublishMessagesRequest]:
            for number in self._take():
                await room.acquire()
                sent.append((number, time.perf_counter()))
                key = uuid.uuid4().hex if self._task.idempotency_keys else ""
                yield PublishMessagesRequest(message=self._request(number), idempotency_key=key)

        try:
            async for answer in stub.PublishMessages(requests(), metadata=(self._authorization,)):
                room.release()
                number, began = sent[answer.number - 1]
                if answer.result.HasField("message"):
                    ids = [(answer.result.message.id, self._application(number))]
                    self._note(ids, began)
                else:
                    self._refuse(answer.result.failure.message)
        except grpc.aio.AioRpcError as error:
            self._refuse(str(error.details()))


async def _run() -> None:
    async def send(target: str, api_key: str, **task: object) -> dict[str, object]:
        work = Task(**task)  # type: ignore[arg-type]
        channels = [
            grpc.aio.insecure_channel(target, options=_OPTIONS) for _ in range(work.connections)
        ]
        try:
            return asdict(await _Sender(channels, api_key, work).run())
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))

    await serve({"send": send})


if __name__ == "__main__":
    uvloop.run(_run())
