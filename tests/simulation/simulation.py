"""One run: a world is made, lives through the faults of its seed, comes to rest and is checked."""

import asyncio
import logging
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import structlog
from octohooks.v1.application_pb2 import Application
from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_HMAC_SHA256, Endpoint
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.message_pb2 import Message
from octohooks_server.delivery import handing_over, taking_over
from octohooks_server.delivery import loop as delivery_loop
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.ids import APPLICATION, ENDPOINT, ENVIRONMENT, MESSAGE
from octohooks_server.rules.signing import generate_hmac_secret
from octohooks_server.store import applications, endpoint_secrets, endpoints, environments
from octohooks_server.store import proto_values as values
from octohooks_server.store.acceptance import Draft
from octohooks_server.store.migrations import migrate
from sqlalchemy import create_engine

from tests.simulation import plan as plans
from tests.simulation.disk import Faults
from tests.simulation.invariants import violations
from tests.simulation.network import Network, Receiver
from tests.simulation.server import Relay, SimulatedServer, Surroundings
from tests.simulation.stored import Stored
from tests.simulation.trace import Trace
from tests.simulation.virtual_time import VirtualTimeLoop
from tests.simulation.world import START, Acknowledged, KnownEndpoint, World

_GRACE = timedelta(seconds=3)
_FAR_TOO_MANY_POSTS = 500
_MORE_THAN_A_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one seed."""

    seed: int
    violations: list[str]
    # How often each kind of thing happened.
    counts: Counter[str]
    trace: Trace


def simulate(seed: int) -> Report:
    """Runs one seed; the same seed does the same on every machine."""
    with tempfile.TemporaryDirectory(prefix="octohooks-simulation-") as folder:
        file = Path(shutil.copy(_migrated_file(), Path(folder) / "octohooks.db"))
        simulation = _Simulation(seed, file)
        loop = VirtualTimeLoop()
        try:
            with _quiet(), simulation.patience():
                loop.run_until_complete(simulation.run())
        finally:
            loop.close()
    return Report(seed, simulation.violations, simulation.counts, simulation.trace)


@dataclass
class _Simulation:
    seed: int
    file: Path
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)

    def __post_init__(self) -> None:
        self.plan: plans.Plan = plans.plan_of(self._random("plan"))
        self._draw = self._random("story")
        self._jump = timedelta(0)
        self._servers: list[SimulatedServer] = []
        self._all_servers: list[SimulatedServer] = []
        self._calls: list[asyncio.Task[None]] = []
        self._world = World(self.plan)

    def _random(self, of: str) -> random.Random:
        """A stream of chance of its own, so that one more draw in one place moves no other."""
        return random.Random(f"{self.seed}/{of}")

    @contextmanager
    def patience(self) -> Iterator[None]:
        """While in it, an idle server looks less often where the schedules are long."""
        seconds = self.plan.seconds_between_looks
        # An offer holds until those that should follow it have been due, as it does in a server.
        looks_of_an_offer = (
            handing_over._SECONDS_OF_AN_OFFER / taking_over._MOST_SECONDS_BETWEEN_LOOKS
        )
        with (
            mock.patch.object(delivery_loop, "_MOST_SECONDS_BETWEEN_LOOKS", seconds),
            mock.patch.object(taking_over, "_MOST_SECONDS_BETWEEN_LOOKS", seconds),
            mock.patch.object(handing_over, "_SECONDS_OF_AN_OFFER", looks_of_an_offer * seconds),
        ):
            yield

    async def run(self) -> None:
        self._faults = Faults(self._random("disk"), self.trace)
        self._network = Network(self.trace)
        self._around = Surroundings(
            self.file,
            self._faults,
            self._network,
            self.trace,
            self._wall,
            self.plan.bounds,
            Relay(self._servers, self._faults, self._random("relay")),
            self.plan.hands_over,
        )
        self.trace.add(f"{self.plan}")
        for _ in range(self.plan.servers):
            self._start_server()
        await self._furnish()
        await self._live()
        await self._come_to_rest()
        self._check()
        for server in self._all_servers:
            await server.process.bury()

    def _wall(self) -> datetime:
        seconds = asyncio.get_running_loop().time()
        return START + timedelta(seconds=seconds) + self._jump

    def _start_server(self) -> None:
        number = len(self._all_servers) + 1
        name = f"server-{number}"
        server = SimulatedServer(name, self._around, self._random(name))
        self._servers.append(server)
        self._all_servers.append(server)
        self.trace.add(f"{name} starts")

    async def _furnish(self) -> None:
        """Makes an environment with applications and endpoints."""
        server = self._servers[0]
        draw = self._draw
        now = server.clock()
        async with server.database.write() as conn:
            environment = await environments.create(
                conn,
                id=server.ids.new(ENVIRONMENT),
                environment=Environment(name="Simulated"),
                now=now,
            )
            self._world.environment_id = environment.id
            for _ in range(self.plan.applications):
                application_rate = draw.choice((0, 0, 0, 5))
                application = await applications.create(
                    conn,
                    environment_id=environment.id,
                    id=server.ids.new(APPLICATION),
                    application=Application(name="A customer", rate_limit=application_rate),
                    now=now,
                )
                self._world.application_ids.append(application.id)
                for _ in range(self.plan.endpoints):
                    id = server.ids.new(ENDPOINT)
                    steps = [
                        timedelta(seconds=draw.random() * self.plan.longest_step)
                        for _ in range(draw.randint(1, 4))
                    ]
                    if draw.random() < 0.8:
                        steps[0] = timedelta(0)
                    endpoint = Endpoint(
                        url=f"https://receiver.example/{id}",
                        signature_type=SIGNATURE_TYPE_HMAC_SHA256,
                        rate_limit=draw.choice((0, 0, 0, 2)),
                    )
                    schedule = values.retry_schedule(steps)
                    assert schedule is not None
                    endpoint.retry_schedule.CopyFrom(schedule)
                    await endpoints.create(
                        conn,
                        environment_id=environment.id,
                        application_id=application.id,
                        id=id,
                        endpoint=endpoint,
                        now=now,
                    )
                    await endpoint_secrets.add(
                        conn,
                        environment_id=environment.id,
                        endpoint_id=id,
                        secret=generate_hmac_secret(draw.randbytes),
                        signature_type=SIGNATURE_TYPE_HMAC_SHA256,
                        replaced_expire_at=now,
                        now=now,
                    )
                    self._world.endpoints[id] = KnownEndpoint(
                        application.id,
                        tuple(steps),
                        is_rate_limited=bool(application_rate or endpoint.rate_limit),
                    )
                    self._network.receivers[id] = Receiver(
                        self._random(f"receiver {len(self._network.receivers)}"),
                        timeout=self.plan.bounds.request_timeout.total_seconds(),
                    )

    async def _live(self) -> None:
        """Lets the events of the plan happen in an order and at times of the seed's choosing."""
        plan = self.plan
        events: list[Callable[[], Coroutine[Any, Any, None] | None]] = [
            *[self._send] * plan.messages,
            *[self._crash] * plan.crashes,
            *[self._pause] * plan.pauses,
            *[self._restart] * plan.restarts,
            *[self._outage] * plan.outages,
            *[self._set_clock] * plan.clock_jumps,
            *[self._resend] * plan.resends,
            *[self._disable] * plan.disablings,
            *[self._delete] * plan.deletions,
        ]
        self._faults.error_rate = plan.error_rate
        lasting: list[asyncio.Future[None]] = []
        timed = [(self._draw.random() * plan.span, event) for event in events]
        for at, event in sorted(timed, key=lambda pair: pair[0]):
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            done = event()
            if done is not None:
                lasting.append(asyncio.ensure_future(done))
        await asyncio.gather(*lasting)
        await asyncio.sleep(2.0)

    async def _come_to_rest(self) -> None:
        """Goes on without faults until nothing is left to be attempted, and stops in order."""
        self._faults.calm()
        self.trace.add("calm")
        loop = asyncio.get_running_loop()
        # A clock that was set back an hour is waited for by a server that starts afterwards.
        most = 6 * self.plan.longest_step + 400 + 3700 * self.plan.clock_jumps
        latest = loop.time() + most
        with Stored(self.file) as stored:
            while stored.is_anything_waiting():
                posts = len(self._network.posts)
                if loop.time() > latest or posts > _FAR_TOO_MANY_POSTS:
                    self.violations.append(
                        f"after {most:g} seconds or {posts} POSTs there is still work to do"
                    )
                    break
                await asyncio.sleep(self.plan.seconds_between_looks)
        for server in self._servers:
            await server.stop(_MORE_THAN_A_TIMEOUT)

    def _check(self) -> None:
        with Stored(self.file) as stored:
            self.violations += violations(
                self._world, self._network.posts, stored, self._all_servers, self._faults.times
            )
            self.counts["attempts"] = len(stored.attempts)
        self.counts["posts"] = len(self._network.posts)
        self.counts["deliveries taken over"] = sum(one.taken_over for one in self._all_servers)
        self.counts["database errors"] = len(self._faults.times)
        self.trace.add(f"{dict(self.counts)}")

    def _pick_server(self) -> SimulatedServer | None:
        return self._draw.choice(self._servers) if self._servers else None

    def _note(self, kind: str, line: str) -> None:
        self.counts[kind] += 1
        self.trace.add(line)

    def _call(self, server: SimulatedServer, call: Callable[[], Awaitable[None]]) -> None:
        """Makes a call to a server, which may never answer."""

        async def attempt() -> None:
            try:
                await call()
            except OctohooksError as error:
                self.trace.add(f"a call fails: {error}")

        self._calls.append(server.process.start(attempt()))

    def _send(self) -> None:
        server = self._pick_server()
        application_id = self._draw.choice(self._world.application_ids)
        if server is None:
            return
        id = server.process.call(lambda: server.ids.new(MESSAGE))
        message = Message(id=id, event_type="invoice.paid", payload=f'"{id}"'.encode())
        draft = Draft(self._world.environment_id, application_id, message)

        async def send() -> None:
            wanted_before = self._wanting(application_id)
            accepted = await server.acceptances.submit(draft)
            wanted = wanted_before & self._wanting(application_id)
            self._note("messages", f"{id[-4:]} is acknowledged")
            self._world.acknowledged[id] = Acknowledged(
                application_id, wanted, values.moment(accepted.message.create_time)
            )

        self._call(server, send)

    def _wanting(self, application_id: str) -> frozenset[str]:
        """The endpoints that have to get a message of the application."""
        return frozenset(
            id
            for id, known in self._world.endpoints.items()
            if known.application_id == application_id
            and not known.may_be_retired
            and not self._network.receivers[id].has_said_gone
        )

    def _resend(self) -> None:
        server = self._pick_server()
        if server is None:
            return
        sent = [
            (message_id, endpoint_id)
            for message_id, acknowledged in self._world.acknowledged.items()
            for endpoint_id in sorted(acknowledged.endpoint_ids)
        ]
        under_way = {post.delivery for post in self._network.posts if post.recorded is None}
        chosen = [key for key in sent if key in under_way] or sent
        if not chosen:
            return
        key = self._draw.choice(chosen)
        message_id, endpoint_id = key
        application_id = self._world.acknowledged[message_id].application_id

        async def resend() -> None:
            if await server.resend(
                self._world.environment_id, application_id, message_id, endpoint_id
            ):
                self._note("resends", f"{message_id[-4:]} {endpoint_id[-4:]} is to be resent")
                self._world.resends.append((key, asyncio.get_running_loop().time()))

        self._call(server, resend)

    def _disable(self) -> None:
        self._retire("disablings", SimulatedServer.disable)

    def _delete(self) -> None:
        self._retire("deletions", SimulatedServer.delete)

    def _retire(
        self, kind: str, retire: Callable[[SimulatedServer, str, str], Awaitable[None]]
    ) -> None:
        server = self._pick_server()
        endpoint_id = self._draw.choice(sorted(self._world.endpoints))
        if server is None:
            return
        # From now on it may get nothing; whether it does is told by the database.
        self._world.endpoints[endpoint_id].may_be_retired = True

        async def call() -> None:
            await retire(server, self._world.environment_id, endpoint_id)
            known = self._world.endpoints[endpoint_id]
            if known.retired_at is None:
                known.retired_at = asyncio.get_running_loop().time()
            self._note(kind, f"{endpoint_id[-4:]} gets nothing any more")

        self._call(server, call)

    async def _in_the_middle_of_an_attempt(self, server: SimulatedServer) -> None:
        """Waits a while, half of the times, until the server has an attempt under way."""
        if self._draw.random() < 0.5:
            for _ in range(60):
                if server.open_posts():
                    return
                await asyncio.sleep(0.05)

    async def _crash(self) -> None:
        server = self._pick_server()
        if server is None:
            return
        await self._in_the_middle_of_an_attempt(server)
        if server in self._servers:
            self._servers.remove(server)
            server.crash()
            self._note("crashes", f"{server.name} crashes")
            await asyncio.sleep(self._draw.random() * 2)
            self._start_server()

    async def _pause(self) -> None:
        server = self._pick_server()
        if server is None:
            return
        await self._in_the_middle_of_an_attempt(server)
        if server in self._servers:
            lease = self.plan.bounds.lease.total_seconds()
            server.pause()
            self._note("pauses", f"{server.name} stands still")
            await asyncio.sleep(lease * self._draw.choice((0.1, 0.9, 1.1, 2.0)))
            server.process.go_on()
            self.trace.add(f"{server.name} goes on")

    async def _restart(self) -> None:
        server = self._pick_server()
        if server is not None:
            self._note("restarts", f"{server.name} is stopped")
            self._servers.remove(server)
            await server.stop(_GRACE)
            self._start_server()

    def _outage(self) -> None:
        seconds = self._draw.random() * 1.5 * self.plan.bounds.lease.total_seconds()
        self._faults.away_until = asyncio.get_running_loop().time() + seconds
        self._note("outages", f"the database is away for {seconds:g} seconds")

    def _set_clock(self) -> None:
        jump = timedelta(hours=self._draw.choice((-1, 1)))
        self._jump += jump
        self._note("clock jumps", f"the clock is set by {jump}")


@cache
def _migrated_file() -> Path:
    """An empty database with the newest schema, to be copied."""
    file = Path(tempfile.mkdtemp(prefix="octohooks-simulation-")) / "migrated.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as transaction:
        migrate(transaction)
    engine.dispose()
    # As the server would do at its first connection, for which others would have to stand aside.
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return file


@contextmanager
def _quiet() -> Iterator[None]:
    """The server's log says what is meant to happen here; the trace says more."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(wrapper_class=before)
