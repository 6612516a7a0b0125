"""Random calls by several clients at once against a server in this process, and what must hold."""

import asyncio
import random
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import CreateEndpointRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import CreateEnvironmentRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import CreateMessageRequest
from octohooks_server import serve
from octohooks_server.errors import Unavailable
from octohooks_server.store.database import Database, open_database, postgresql, sqlite
from octohooks_server.store.database.base import away
from structlog.testing import capture_logs

from tests.fuzz.requests import Requests
from tests.receivers import Receiver, respond
from tests.server.api.calls import Api, Metadata, Refused
from tests.server.api.home import Home
from tests.server.api.rpcs import RPCS, Rpc
from tests.server.api.serving import Server, serving
from tests.waiting import eventually

_ENCRYPTION_KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
_CLIENTS = 4
_STEPS_PER_ENVIRONMENT = 60
_DEFECTS = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS"}
# What grpc.aio makes of a stream that was refused while its client was still writing.
_CUT_BY_CLIENT = "Internal error from Core"
# Else nearly every entity would be gone before another call meets it.
_RARELY = ("Delete", "Revoke", "Archive")
_IDEMPOTENCY_KEYS = ("", "", "", "one", "two", "x" * 300)


@dataclass
class Report:
    """What came of a seed."""

    seed: int
    # How often each RPC was answered, or refused with which code.
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Transactions:
    """Counts the transactions of a server that are open, and keeps how some of them ended."""

    def __init__(self) -> None:
        self.open = 0
        # By what the database was taken to be away, which callers are not told.
        self.away: list[str] = []

    def note_away(self) -> Unavailable:
        """In place of the server's own `away`."""
        self.away.append("".join(traceback.format_exception(sys.exception())))
        return away()

    def of(self, database: Database) -> Database:
        """The database, which tells from now on what it begins and ends."""
        for name in ("read", "write"):
            setattr(database, name, self._counted(getattr(database, name)))
        return database

    def _counted(self, begin: Any) -> Any:
        @asynccontextmanager
        async def counted() -> AsyncIterator[Any]:
            self.open += 1
            try:
                async with begin() as conn:
                    yield conn
            finally:
                self.open -= 1

        return counted


@asynccontextmanager
async def fuzzed_server(home: Home) -> AsyncIterator[tuple[Server, Transactions]]:
    """A server, and the transactions that it has open."""
    transactions = Transactions()

    def remember(*arguments: Any, **options: Any) -> Database:
        return transactions.of(opener(*arguments, **options))

    opener = open_database
    with (
        patch.object(serve, "open_database", remember),
        patch.object(postgresql, "away", transactions.note_away),
        patch.object(sqlite, "away", transactions.note_away),
    ):
        async with serving(home, encryption_keys=_ENCRYPTION_KEY) as server:
            yield server, transactions


async def fuzz(server: Server, transactions: Transactions, *, seed: int, steps: int) -> Report:
    """Makes `steps` calls from a seed; which answers clients get first is the machine's choice."""
    report = Report(seed)
    tasks_before = len(asyncio.all_tasks())
    with capture_logs() as logs:
        async with Receiver(*[respond(200), respond(500)] * 2, respond(410)) as receiver:
            urls = (receiver.url, receiver.url, "http://127.0.0.1:9/")
            clients = [
                _Client(server, random.Random(f"{seed} {number}"), urls, report)
                for number in range(_CLIENTS)
            ]
            try:
                await asyncio.gather(*(client.run(steps // _CLIENTS) for client in clients))
            except Refused as error:
                report.faults.append(f"a client could not go on: {error}")
        await _settled(report, transactions, tasks_before)
    for line in logs:
        # A secret that does not open, a step of the upkeep that failed: whatever is our defect.
        if line["log_level"] in ("error", "critical"):
            report.faults.append(f"logged {_with_traceback(line)}")
    if report.faults:
        report.faults.extend(transactions.away)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = HealthStub(channel)
        health = await stub.Check(HealthCheckRequest())
    if health.status != HealthCheckResponse.SERVING:
        report.faults.append("the server is not healthy any more")
    return report


def _with_traceback(line: MutableMapping[str, Any]) -> str:
    error = line.get("exc_info")
    if not isinstance(error, BaseException):
        return str(line)
    return f"{line}\n{''.join(traceback.format_exception(error))}"


async def _settled(report: Report, transactions: Transactions, tasks_before: int) -> None:
    """Nothing that the calls began is left: no task, and no transaction."""

    async def no_tasks() -> bool:
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()) <= tasks_before

    async def no_transactions() -> bool:
        await asyncio.sleep(0)
        return transactions.open == 0

    for look, what in ((no_tasks, "tasks"), (no_transactions, "transactions")):
        try:
            await eventually(look)
        except TimeoutError:
            report.faults.append(f"{what} are left over: {_named_tasks()}")


def _named_tasks() -> list[str]:
    return sorted(str(task.get_coro()) for task in asyncio.all_tasks())


async def send_everywhere(server: Server, text: str, *, times: int, seed: int) -> Report:
    """Puts a text into every place of otherwise right requests, `times` requests of each RPC."""
    report = Report(seed)
    client = _Client(server, random.Random(seed), ("http://127.0.0.1:9/",), report)
    await client.move_in()
    for rpc in RPCS:
        for _ in range(times):
            await client.send_with_each_text_as(rpc, text)
    return report


class _Client:
    """Makes calls one after another, with keys of an environment that it moves out of at times."""

    def __init__(
        self, server: Server, draw: random.Random, urls: tuple[str, ...], report: Report
    ) -> None:
        self._server = server
        self._draw = draw
        self._requests = Requests(draw, urls)
        self._report = report
        self._own_key = ""
        self._api: Api = server.operator

    async def run(self, steps: int) -> None:
        for step in range(steps):
            if step % _STEPS_PER_ENVIRONMENT == 0:
                await self.move_in()
            await self._call(self._chosen())
            if self._draw.random() < 0.1:
                self._change_key()

    async def send_with_each_text_as(self, rpc: Rpc, text: str) -> None:
        """One right request, with each of its texts replaced in turn."""
        for _, data in self._requests.with_each_text_as(rpc, text):
            await self._send(rpc, [data], self._api_for(rpc), ())

    async def move_in(self) -> None:
        """An environment of its own, with keys of every role and something in it."""
        operator = self._server.operator
        made = await operator(CreateEnvironmentRequest(environment=Environment(name="fuzz")))
        self._requests.learn(made)
        full = await operator(CreateApiKeyRequest(environment=made.environment.id))
        self._own_key = full.key
        self._api = self._server.api(full.key)
        for request in (
            CreateApplicationRequest(application=Application(uid="a")),
            CreateEndpointRequest(
                application="a", endpoint=Endpoint(uid="a", url=self._requests.url())
            ),
            CreateEventTypeRequest(event_type=EventType(name="a", examples=["{}"])),
            CreateMessageRequest(
                application="a", message=Message(uid="a", event_type="a", payload=b"{}")
            ),
        ):
            self._requests.learn(await self._api(request))
        for role in ApiKeyRole.values():
            if role != ApiKeyRole.API_KEY_ROLE_UNSPECIFIED:
                confined = role == ApiKeyRole.API_KEY_ROLE_APPLICATION
                key = ApiKey(role=role, application="a" if confined else "")
                self._requests.learn(await self._api(CreateApiKeyRequest(api_key=key)))

    def _change_key(self) -> None:
        """Takes any key that it has seen, or goes back to the one that opens its environment."""
        keys = self._requests.known("key")
        self._api = self._server.api(
            self._draw.choice(keys) if self._draw.random() < 0.2 else self._own_key
        )

    def _chosen(self) -> Rpc:
        while True:
            rpc = self._draw.choice(RPCS)
            if not rpc.method.startswith(_RARELY) or self._draw.random() < 0.15:
                return rpc

    async def _call(self, rpc: Rpc) -> None:
        key = self._draw.choice(_IDEMPOTENCY_KEYS)
        metadata = (("idempotency-key", key),) if key else ()
        api = self._api_for(rpc) if self._draw.random() < 0.95 else self._api
        await self._send(rpc, self._requests.of(rpc), api, metadata)

    def _api_for(self, rpc: Rpc) -> Api:
        of_operator = rpc.service.endswith(".EnvironmentService")
        return self._server.operator if of_operator else self._api

    async def _send(self, rpc: Rpc, data: list[bytes], api: Api, metadata: Metadata) -> None:
        try:
            answers = await api.exchange(rpc, data, metadata)
        except Refused as error:
            refusal = error.refusal
            self._report.counts[f"{rpc.method} {refusal.code}"] += 1
            if refusal.code in _DEFECTS or not refusal.reason or not refusal.message:
                self._fault(rpc, data, f"{refusal.code}: {refusal.message}")
            return
        except Exception as error:
            if rpc.client_streams and _CUT_BY_CLIENT in str(error):
                self._report.counts[f"{rpc.method} cut"] += 1
            else:
                self._fault(rpc, data, repr(error))
            return
        self._report.counts[f"{rpc.method} OK"] += 1
        for answer in answers:
            self._requests.learn(answer)

    def _fault(self, rpc: Rpc, data: list[bytes], what: str) -> None:
        asked = []
        for one in data:
            try:
                asked.append(str(rpc.request_type.FromString(one))[:2_000])
            except Exception:
                asked.append(repr(one[:2_000]))
        self._report.faults.append(f"{rpc.method}: {what}\n  asked: {asked}")
