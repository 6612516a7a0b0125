"""Watches that are cut at random, of a server that is killed at random, over many attempts.

`python -m tests.acceptance.cuts --attempts 20000` makes a run and tells what it saw.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc.aio
from octohooks import AsyncOctohooks, Backoff, Unavailable
from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest
from octohooks.v1.attempt_service_pb2_grpc import AttemptServiceStub

from tests.acceptance.events import until_nothing_is_pending
from tests.acceptance.process import IMPATIENT, ServerProcess
from tests.acceptance.proxy import CuttingProxy
from tests.receivers import Connection, Receiver, respond

# What a server has to be started with: a killed one's claims end soon.
SETTINGS = {"request_timeout": "1", "lease": "6"}
_FAILURES = 0.2
_ENDPOINTS = 2
_SOON = Backoff(initial=timedelta(milliseconds=20), maximum=timedelta(milliseconds=200))


@dataclass
class Report:
    """What a run came to."""

    listed: list[str]
    """The attempts of the list, oldest first."""
    seen: dict[str, list[str]]
    """What each watch showed, from its first response to its last, over all cuts."""
    counts: Counter[str] = field(default_factory=Counter)

    def problems(self) -> list[str]:
        """Which watches differ from the list, and how."""
        return [
            f"{name}: {len(seen)} of {len(self.listed)}, {len(seen) - len(set(seen))} twice,"
            f" {len(set(self.listed) - set(seen))} missing"
            for name, seen in self.seen.items()
            if seen != self.listed
        ]


class Run:
    """One run against servers that were started with `SETTINGS` and have seen nothing yet.

    There are several on a PostgreSQL database, by its URL, where somebody also holds transactions
    open that keep events from being recorded.
    """

    def __init__(
        self,
        *servers: ServerProcess,
        attempts: int,
        seed: int,
        database_url: str | None = None,
    ) -> None:
        self._servers = servers
        self._database_url = database_url
        # The first start of all on the database showed it.
        (self._api_key,) = [server.api_key for server in servers if server.api_key]
        self._messages = round(attempts * (1 - _FAILURES) / _ENDPOINTS)
        self._random = random.Random(seed)
        self._seen: dict[str, list[str]] = {}
        self._grown = asyncio.Condition()
        self._counts: Counter[str] = Counter()
        self._application = ""

    async def result(self) -> Report:
        """Sends the messages while watches are cut and the server is killed, until all is seen."""
        async with (
            Receiver(self._answer) as receiver,
            CuttingProxy(self._servers[-1].address) as proxy,
            self._servers[0].connect(self._api_key, timeout=60) as client,
            self._servers[0].connect(
                self._api_key, target=proxy.address, reconnect=_SOON
            ) as cut_client,
            asyncio.TaskGroup() as tasks,
        ):
            self._application = (await client.application.create(uid="shop")).id
            for _ in range(_ENDPOINTS):
                await client.endpoint.create(
                    "shop", url=receiver.url, retry_schedule=[0, *[0.05] * 19]
                )
            begun = asyncio.Barrier(5)
            others = [
                tasks.create_task(work)
                for work in (
                    self._resume_by_itself("by itself", cut_client, begun),
                    self._resume_by_itself("by itself, filtered", cut_client, begun, "shop"),
                    self._resume_by_token("by token", begun),
                    self._resume_by_token("by token, filtered", begun, "shop"),
                    self._cut(proxy),
                    self._kill(),
                    self._hold(receiver),
                )
            ]
            await begun.wait()
            await self._send(client)
            listed = await _all_attempts(client)
            async with self._grown:
                await self._grown.wait_for(
                    lambda: all(seen[-1:] == listed[-1:] for seen in self._seen.values())
                )
            for task in others:
                task.cancel()
            self._counts["cuts"] = proxy.cuts
        return Report(listed, self._seen, self._counts)

    async def _answer(self, connection: Connection) -> None:
        await respond(500 if self._random.random() < _FAILURES else 200)(connection)

    async def _send(self, client: AsyncOctohooks) -> None:
        async def messages() -> AsyncIterator[Any]:
            for number in range(self._messages):
                yield {"application": "shop", "event_type": "a.b", "payload": {"number": number}}

        async for _ in client.message.publish(messages(), window=200):
            pass

    async def _note(self, name: str, attempts: list[str]) -> None:
        async with self._grown:
            self._seen[name] += attempts
            self._grown.notify_all()

    async def _until_more_are_seen(self, least: int, most: int) -> None:
        """Returns once a random number of attempts was seen by all watches together."""
        wanted = self._sum() + self._random.randint(least, most)
        async with self._grown:
            await self._grown.wait_for(lambda: self._sum() >= wanted)

    def _sum(self) -> int:
        return sum(map(len, self._seen.values()))

    async def _resume_by_itself(
        self,
        name: str,
        client: AsyncOctohooks,
        begun: asyncio.Barrier,
        application: str | None = None,
    ) -> None:
        """A watch of the SDK, over a connection that is cut."""
        self._seen[name] = []
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await begun.wait()
            async for event in watch:
                await self._note(name, [event.attempt.id])

    async def _resume_by_token(
        self, name: str, begun: asyncio.Barrier, application: str = ""
    ) -> None:
        """Streams that are given up after some responses, and taken up at one of their tokens."""
        seen: list[str] = []
        self._seen[name] = seen
        # Each token so far, and how many attempts had been seen when it came.
        places: list[tuple[str, int]] = []
        while True:
            server = self._random.choice(self._servers)
            async with grpc.aio.insecure_channel(server.address, options=IMPATIENT) as channel:
                request = WatchAttemptsRequest(application=application)
                if places:
                    request.resume_token = places[-1][0]
                call = AttemptServiceStub(channel).WatchAttempts(
                    request,
                    metadata=[("authorization", f"Bearer {self._api_key}")],
                    wait_for_ready=True,
                )
                left = self._random.randint(1, 40)
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async for response in call:
                        await self._note(name, [event.attempt.id for event in response.events])
                        is_first = not places
                        places.append((response.resume_token, len(seen)))
                        if is_first:
                            await begun.wait()
                        left -= 1
                        if left == 0:
                            break
                call.cancel()
            if places:
                self._counts["streams taken up by token"] += 1
                # The last token, or one before it; what was seen after it comes once more.
                back = min(self._random.choice((0, 0, 1, 5)), len(places) - 1)
                del places[len(places) - back :]
                async with self._grown:
                    del seen[places[-1][1] :]

    async def _cut(self, proxy: CuttingProxy) -> None:
        while True:
            await self._until_more_are_seen(200, 2_000)
            proxy.cut()

    async def _kill(self) -> None:
        while True:
            await self._until_more_are_seen(2_000, 6_000)
            server = self._random.choice(self._servers)
            await server.kill()
            self._counts["kills"] += 1
            await server.restart()

    async def _hold(self, receiver: Receiver) -> None:
        """Lets a transaction that records events land late, again and again."""
        if self._database_url is None:
            return
        connection = await asyncpg.connect(self._database_url)
        try:
            while True:
                await self._until_more_are_seen(500, 2_000)
                async with connection.transaction():
                    await connection.execute("SELECT 1 FROM environments FOR UPDATE")
                    self._counts["transactions held open"] += 1
                    # Meanwhile attempts are made that cannot be recorded yet, if any are left.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            for _ in range(20):
                                await receiver.next_request()
        finally:
            await connection.close()


async def _all_attempts(client: AsyncOctohooks) -> list[str]:
    """Every attempt, oldest first, once all is done; servers may be killed until then and later."""
    while True:
        with contextlib.suppress(Unavailable):
            await until_nothing_is_pending(client)
            return [one.id async for one in client.attempt.list(page_size=250)][::-1]


async def _main(attempts: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "server", **SETTINGS)
        await server.start()
        begin = time.monotonic()
        try:
            report = await Run(server, attempts=attempts, seed=seed).result()
        finally:
            server.discard()
    took = time.monotonic() - begin
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    print(f"seed {seed}: {len(report.listed)} attempts in {took:.0f} s, {counts}")
    for problem in report.problems():
        print(f"  {problem}")
    return 1 if report.problems() else 0


def main() -> None:
    """Makes the run that it is asked for; ends with 1 when a watch differs from the list."""
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.cuts", description=__doc__)
    parser.add_argument("--attempts", type=int, default=20_000, help="about how many")
    parser.add_argument("--seed", type=int, default=None, help="what decides when to cut and kill")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(1_000_000)
    sys.exit(asyncio.run(_main(arguments.attempts, seed)))


if __name__ == "__main__":
    main()
