"""The composition root: puts the server together, starts it and stops it in order."""

import asyncio
import os
import random
import threading
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.acceptance import Acceptance
from octohooks_server.api.authentication import OPERATOR_KEY_PREFIX, Authenticator, new_key
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.page_tokens import PageTokens
from octohooks_server.api.seals import Seals
from octohooks_server.api.server import ApiServer, build_server
from octohooks_server.background.cleaning import Cleaning
from octohooks_server.background.frozen import end_frozen_sessions
from octohooks_server.background.presence import Presence
from octohooks_server.background.resealing import Resealing
from octohooks_server.background.steps import Steps
from octohooks_server.background.upkeep import Step, Upkeep
from octohooks_server.bootstrap import FirstStart, make_first_environment
from octohooks_server.clock import (
    Clock,
    SharedClock,
    SteadyClock,
    seconds_since_boot,
    system_clock,
)
from octohooks_server.delivery.handing_over import HandingOver
from octohooks_server.delivery.loop import Bounds, DeliveryLoop
from octohooks_server.delivery.resolver import SystemResolver
from octohooks_server.delivery.sender import Sender
from octohooks_server.delivery.taking_over import TakingOver
from octohooks_server.errors import OctohooksError
from octohooks_server.health import Health, Part
from octohooks_server.observing import Observation
from octohooks_server.opening import held, migrated, require_encryption_keys
from octohooks_server.rules.ids import IdFactory
from octohooks_server.rules.keyring import Keyring
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.store import instance
from octohooks_server.store.acceptance import Accepted, Draft, accept, makes_one_change
from octohooks_server.store.database import (
    Database,
    PostgresDatabase,
    open_database,
)
from octohooks_server.store.due import Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded, record_outcomes
from octohooks_server.store.relay import Hears, Relay
from octohooks_server.store.shared_time import SharedTime
from octohooks_server.transport import Transport

log = structlog.get_logger()

_LEAST_TIME_TO_DRAIN = timedelta(seconds=1)
# What the database may wait for a lock, and more.
_SECONDS_FOR_A_LAST_COMMIT = 6.0
_SECONDS_FOR_LAST_WORDS = 2.0
_SECONDS_BETWEEN_READINGS_OF_THE_TIME = 1.0
# The loop looks every second, and a commit takes no longer than the database may wait for a lock.
_MOST_SECONDS_WITHOUT_PROGRESS = 10.0
# A step may take as long as the database gives a statement; rounds begin every 10 seconds.
_MOST_SECONDS_WITHOUT_UPKEEP = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready for calls."""

    # Where gRPC is served, as `address:port`.
    address: str
    operator_key: str
    # What was made in an empty database; None when it was not empty.
    first_start: FirstStart | None
    # Where metrics are served, as `address:port`; None where they are not.
    metrics_address: str | None
    # Set when a part of the server has died, so that it should be ended and started anew.
    failed: asyncio.Event


@asynccontextmanager
async def running(
    settings: Settings, *, wall: Clock | None = None, clock: Clock | None = None
) -> AsyncIterator[Running]:
    """A server that serves while the block runs and is stopped in order at its end.

    `wall` is what receivers and callers go by, in signatures and the expiry of keys; `clock`
    decides what is due. Given alone, `clock` is both; else it follows `wall`, or the system's,
    steadily, and on PostgreSQL the database's.

    Raises:
        SettingsError: the port or the data folder cannot be had, or the files for TLS.
    """
    transport = Transport(settings)
    wall = wall or clock or system_clock
    with nullcontext() if settings.database_url else held(settings.data_dir):
        database = open_database(
            settings.database,
            connections=settings.database_connections,
            encryption_keys=settings.read_encryption_keys(),
        )
        try:
            await migrated(database, settings)
            await require_encryption_keys(database)
            clock = clock or await _made_clock(database, wall)
            server = await _Server.put_together(settings, database, wall, clock, transport)
            address = await server.start()
            try:
                yield Running(
                    address,
                    server.operator_key,
                    server.first_start,
                    server.metrics_address,
                    server.failed,
                )
            finally:
                await server.stop()
        finally:
            await database.close()


async def _made_clock(database: Database, wall: Clock) -> Clock:
    """What decides what is due: for a server of its own, or for one of several."""
    if not isinstance(database, PostgresDatabase):
        return SteadyClock(wall)
    clock = SharedClock(wall, SharedTime(database, seconds_since_boot))
    await clock.follow()
    return clock


class _Server:
    """The parts of a server, and the order in which they start and stop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        wall: Clock,
        clock: Clock,
        token_key: bytes,
        operator_key: str,
        transport: Transport,
    ) -> None:
        self.operator_key = operator_key
        self.first_start: FirstStart | None = None
        self.metrics_address: str | None = None
        self._database = database
        self._clock = clock
        self._transport = transport
        self._grace = settings.shutdown_grace
        self._stopping = asyncio.Event()
        # Some are made in the thread in which the database is written.
        self._ids = ids = IdFactory(clock, os.urandom, threading.Lock())
        # Wakes the servers beside this one, where there can be any.
        self._relay = Relay(database) if isinstance(database, PostgresDatabase) else None
        self._feed = feed = Feed(self._relay.tell_events if self._relay else None)
        self._delivers = settings.role != "api"
        self._takes_calls = settings.role != "delivery"
        self._handing_over = (
            HandingOver(asyncio.get_running_loop().time, self._relay.tell_hand_overs)
            if self._relay is not None and not self._delivers
            else None
        )
        seals = Seals(token_key)
        self._observation = Observation(settings)
        metrics = self._observation.metrics

        async def write_outcomes(
            conn: AsyncConnection, outcomes: Sequence[Outcome]
        ) -> Sequence[Recorded | OctohooksError]:
            return await record_outcomes(conn, outcomes, now=clock(), ids=ids)

        async def write_drafts(
            conn: AsyncConnection, drafts: Sequence[Draft]
        ) -> Sequence[Accepted | OctohooksError]:
            handing_over = self._handing_over
            budget = self._loop.claim_budget() if handing_over is None else handing_over.budget()
            return await accept(
                conn,
                drafts,
                now=clock(),
                lease=settings.lease,
                may_claim=budget,
                hands_over=handing_over is not None,
            )

        def hand_over(results: Sequence[Accepted | OctohooksError]) -> None:
            metrics.accepted(results)
            if self._handing_over is not None:
                self._handing_over.left(results)
            for result in results:
                if isinstance(result, Accepted) and result.claimed and self._delivers:
                    self._loop.hand_over(result.claimed)
                if isinstance(result, Accepted) and result.left_due:
                    self._look_for_due()

        def announce(results: Sequence[Recorded | OctohooksError]) -> None:
            recorded = [one for one in results if isinstance(one, Recorded) and one.applied]
            feed.announce({one.environment_id for one in recorded})
            if any(one.notified for one in recorded):
                self._look_for_due()
            disabled = {one.endpoint_id for one in recorded if one.disabled_for}
            if disabled:
                self._recall(disabled)
                self._wake_background()

        self._acceptances: GroupCommit[Draft, Accepted] = GroupCommit(
            database,
            write_drafts,
            hand_over,
            makes_one_change=makes_one_change,
            observe=self._observation.messages_committed,
            on_defect=lambda error: self._health.part_died("messages", error),
        )
        self._outcomes: GroupCommit[Outcome, Recorded] = GroupCommit(
            database,
            write_outcomes,
            announce,
            coming=lambda: self._loop.in_flight,
            observe=self._observation.outcomes_committed,
            on_defect=lambda error: self._health.part_died("outcomes", error),
        )
        self._resolver = SystemResolver(nameservers=settings.nameservers)
        self._sender = Sender(
            timeout=settings.request_timeout,
            resolver=self._resolver,
            user_agent=f"Octohooks/{version('octohooks')}",
            clock=wall,
            allowed_subnets=settings.allowed_subnets,
            max_connections=settings.max_in_flight,
            outbound_proxy=settings.outbound_proxy,
        )
        self._loop = DeliveryLoop(
            database=database,
            outcomes=self._outcomes,
            sender=self._sender,
            feed=feed,
            bounds=Bounds(
                lease=settings.lease,
                request_timeout=settings.request_timeout,
                max_in_flight=settings.max_in_flight,
                max_in_flight_per_endpoint=settings.max_in_flight_per_endpoint,
            ),
            clock=clock,
            random=random.random,
        )
        # Where there can be servers beside this one, they share the rate limits.
        self._presence = (
            Presence(
                database,
                clock=clock,
                counted=self._loop.share_rate_limits,
                tell_others=self._relay.tell_servers,
            )
            if self._relay is not None and self._delivers
            else None
        )
        # Nor need all of them take calls: they take over what others have accepted.
        self._taking_over = (
            TakingOver(database, loop=self._loop, clock=clock, offer=self._relay.tell_offer)
            if self._relay is not None and self._delivers
            else None
        )
        authenticator = Authenticator(database, operator_key=operator_key, clock=wall)
        self._steps = Steps(
            database,
            feed=feed,
            clock=clock,
            take_key_uses=authenticator.take_uses,
            look_for_due=self._look_for_due,
        )
        cleaning = Cleaning(database, clock=clock, history_retention=settings.history_retention)
        shared = [*self._steps.of_all_servers(), *cleaning.all()] if self._delivers else []
        own = [self._resealing(settings)] if settings.database_url is None else []
        self._upkeep = Upkeep([*shared, *self._steps.of_this_server(), *own])
        self._api: ApiServer = build_server(
            Dependencies(
                database=database,
                tokens=PageTokens(seals),
                ids=ids,
                clock=clock,
                random_bytes=os.urandom,
                feed=feed,
                wake_background=self._wake_background,
                recall=self._recall,
                look_for_due=self._look_for_due,
                stopping=self._stopping,
            ),
            authenticator=authenticator,
            wall=wall,
            acceptance=Acceptance(
                self._acceptances, write_drafts, hand_over, self._observation.begin_trace
            ),
            call_ended=metrics.call_ended,
            allowed_subnets=settings.allowed_subnets,
            seals=seals,
            max_watches_per_environment=settings.max_watches_per_environment,
            max_watches_per_key=settings.max_watches_per_key,
            max_requests_per_second=settings.max_requests_per_second,
            with_reflection=settings.reflection,
            options=transport.options(),
            takes_calls=self._takes_calls,
        )
        parts = self._parts()
        self._health = Health(self._api, database, parts)
        self.failed = self._health.failed
        self._observation.follow(
            database=database,
            clock=clock,
            api=self._api,
            loop=self._loop if self._delivers else None,
            health=self._health,
            parts=parts,
        )
        # What ends when it has finished, and what is cut off.
        self._working: list[asyncio.Task[None]] = []
        self._looking_on: list[asyncio.Task[None]] = []
        self._relaying: asyncio.Task[None] | None = None

    def _parts(self) -> Sequence[Part]:
        """What has to go on in this server."""
        loop, upkeep, most = self._loop, self._upkeep, _MOST_SECONDS_WITHOUT_PROGRESS
        parts = [
            Part(name, group.seconds_since_progress, group.seconds_since_progress, most)
            for name, group in (("messages", self._acceptances), ("outcomes", self._outcomes))
        ]
        parts.append(
            Part(
                "upkeep",
                upkeep.seconds_since_progress,
                upkeep.seconds_since_progress,
                _MOST_SECONDS_WITHOUT_UPKEEP,
            )
        )
        if self._delivers:
            parts.append(
                Part("delivery", loop.seconds_since_progress, loop.seconds_since_turn, most)
            )
        return parts

    @classmethod
    async def put_together(
        cls,
        settings: Settings,
        database: Database,
        wall: Clock,
        clock: Clock,
        transport: Transport,
    ) -> "_Server":
        """The parts over a migrated database, which gets a key for tokens if it has none."""
        async with database.write() as conn:
            token_key = await instance.ensure_token_key(conn, os.urandom)
        operator_key = (
            settings.operator_key.get_secret_value()
            if settings.operator_key is not None
            else new_key(OPERATOR_KEY_PREFIX, os.urandom)
        )
        return cls(settings, database, wall, clock, token_key, operator_key, transport)

    async def start(self) -> str:
        """Begins to deliver and to serve; answers the address that is served at."""
        try:
            address = self._transport.bind(self._api.grpc_server)
            self.metrics_address = await self._observation.start()
        except SettingsError:
            await self._observation.stop()
            await self._sender.close()
            await self._resolver.close()
            raise
        await self._database.warm_up()
        # Only now: whoever makes the key must live to print it.
        self.first_start = await make_first_environment(
            self._database, ids=self._ids, clock=self._clock
        )
        if self._presence is not None:
            await self._presence.join()
        self._working = [self._keep_alive("upkeep", self._upkeep.run())]
        if self._delivers:
            self._working.append(self._keep_alive("delivery", self._loop.run()))
        if self._taking_over is not None:
            self._working.append(self._keep_alive("taking_over", self._taking_over.run()))
        self._looking_on = [self._keep_alive("health", self._health.run())]
        if self._relay is not None:
            self._relaying = self._keep_alive("relay", self._relay.run(self._hears()))
            self._looking_on.append(self._keep_alive("time", self._follow_the_time()))
        if isinstance(self._database, PostgresDatabase):
            ending = end_frozen_sessions(self._database)
            self._looking_on.append(self._keep_alive("frozen_sessions", ending))
        if self._presence is not None:
            self._looking_on.append(self._keep_alive("presence", self._presence.run()))
        # Before anybody can ask, since gRPC's health service begins with SERVING.
        await self._health.check()
        await self._api.grpc_server.start()
        return address

    async def stop(self) -> None:
        """Takes on nothing new, finishes what is under way within the grace time, and closes.

        Calls and attempts share the grace time; where calls have used it up, attempts that are
        ending have a second more to be recorded.
        """
        ends_at = asyncio.get_running_loop().time() + self._grace.total_seconds()
        for task in self._looking_on:
            task.cancel()
        await self._health.stop_serving()
        self._loop.stop_claiming()
        if self._taking_over is not None:
            self._taking_over.stop()
        self._upkeep.stop()
        self._stopping.set()
        await self._api.stop(self._grace)
        await self._settle(self._acceptances, ends_at)
        await self._finish_working(ends_at)
        await self._loop.drain(timedelta(seconds=self._seconds_left(ends_at)))
        await self._settle(self._outcomes, ends_at)
        with suppress(OctohooksError):
            if self._presence is not None:
                await self._presence.leave()
        with suppress(OctohooksError):
            await self._steps.note_key_uses()
        await self._end_relaying()
        await self._sender.close()
        await self._resolver.close()
        await self._observation.stop()

    async def _end_relaying(self) -> None:
        """Tells other servers what was recorded last, such as an endpoint that is gone."""
        if self._relay is None or self._relaying is None:
            return
        with suppress(OctohooksError, TimeoutError):
            async with asyncio.timeout(_SECONDS_FOR_LAST_WORDS):
                await self._relay.settle()
        self._relaying.cancel()
        await asyncio.gather(self._relaying, return_exceptions=True)

    def _keep_alive(self, part: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a part of the server, which fails as a whole when the part does."""

        async def run() -> None:
            try:
                await work
            except Exception as error:
                self._health.part_died(part, error)

        return asyncio.create_task(run())

    async def _settle(self, group: GroupCommit[Any, Any], ends_at: float) -> None:
        """Waits for what was submitted to be stored, unless that hangs."""
        seconds = max(self._seconds_left(ends_at), _SECONDS_FOR_A_LAST_COMMIT)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await group.settle()

    def _seconds_left(self, ends_at: float) -> float:
        """Until the grace time is over, or a little where it is over already."""
        least = min(_LEAST_TIME_TO_DRAIN, self._grace).total_seconds()
        return max(ends_at - asyncio.get_running_loop().time(), least)

    async def _finish_working(self, ends_at: float) -> None:
        """Waits for the loops to end, which a database that does not answer may hold up."""
        _, late = await asyncio.wait(self._working, timeout=self._seconds_left(ends_at))
        for task in late:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _follow_the_time(self) -> None:
        """Keeps a shared clock with the database's, until it is cancelled."""
        while isinstance(self._clock, SharedClock):
            await asyncio.sleep(_SECONDS_BETWEEN_READINGS_OF_THE_TIME)
            try:
                await self._clock.follow()
            except Exception as error:
                # It is counted on from the last reading.
                expected = isinstance(error, OctohooksError)
                log.warning("time_not_read", exc_info=None if expected else error)

    def _resealing(self, settings: Settings) -> Step:
        """Brings secrets under the newest key, which on SQLite only its one server can do.

        Without a key there is nothing to do: what is sealed has kept the server from starting.
        """
        keyring = Keyring(settings.read_encryption_keys(), os.urandom)
        return Resealing(self._database, seals=keyring).step

    def _look_for_due(self) -> None:
        """Lets whoever delivers look for what was made due: this server or, by role, others."""
        if self._delivers:
            self._loop.look()
        elif self._relay is not None:
            self._relay.tell_due()

    def _recall(self, endpoint_ids: Collection[str]) -> None:
        self._loop.recall(endpoint_ids)
        if self._relay is not None:
            self._relay.tell_recall(endpoint_ids)

    def _wake_background(self) -> None:
        if self._delivers:
            self._upkeep.wake()
        elif self._relay is not None:
            self._relay.tell_work()

    def _hears(self) -> Hears:
        """What this server does when another one tells it something."""

        def catch_up() -> None:
            self._feed.wake_all()
            self._loop.recall_all()
            self._loop.look()
            self._upkeep.wake()

        def introduce() -> None:
            if self._relay is not None and self._handing_over is not None:
                # Offers may be among what was missed.
                self._relay.tell_servers()

        def meet() -> None:
            if self._presence is not None:
                self._presence.look()
            if self._taking_over is not None:
                self._taking_over.meet()

        return Hears(
            events=self._feed.wake,
            recall=self._loop.recall,
            due=self._loop.look,
            work=self._upkeep.wake,
            servers=meet,
            offer=self._handing_over.hear_offer if self._handing_over is not None else _ignore,
            hand_overs=self._taking_over.look if self._taking_over is not None else _ignore,
            anything=catch_up,
            connected=introduce,
        )


def _ignore(*_: object) -> None:
    """What is none of this server's business."""
