"""The composition root: puts the server together, starts it and stops it in order."""

import asyncio
import fcntl
import os
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.acceptance import Acceptance
from octohooks_server.api.authentication import OPERATOR_KEY_PREFIX, Authenticator, new_key
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.page_tokens import PageTokens
from octohooks_server.api.seals import Seals
from octohooks_server.api.server import ApiServer, build_server
from octohooks_server.background.steps import Steps
from octohooks_server.background.upkeep import Upkeep
from octohooks_server.bootstrap import FirstStart, make_first_environment
from octohooks_server.clock import Clock, SteadyClock, system_clock
from octohooks_server.delivery.loop import Bounds, DeliveryLoop
from octohooks_server.delivery.resolver import SystemResolver
from octohooks_server.delivery.sender import Sender
from octohooks_server.errors import OctohooksError
from octohooks_server.health import Health
from octohooks_server.rules.ids import IdFactory
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.store import instance
from octohooks_server.store.acceptance import Accepted, Draft, accept
from octohooks_server.store.database import Database
from octohooks_server.store.due import Outcome
from octohooks_server.store.feed import Feed
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.migrations import migrate
from octohooks_server.store.outcomes import Recorded, record_outcomes

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready for calls."""

    # Where gRPC is served, as `address:port`.
    address: str
    operator_key: str
    # What was made in an empty database; None when it was not empty.
    first_start: FirstStart | None


@asynccontextmanager
async def running(
    settings: Settings, *, wall: Clock | None = None, clock: Clock | None = None
) -> AsyncIterator[Running]:
    """A server that serves while the block runs and is stopped in order at its end.

    `wall` is what receivers and callers go by, in signatures and the expiry of keys; `clock`
    decides what is due. Given alone, `clock` is both; else it follows `wall`, or the system's,
    steadily.

    Raises:
        SettingsError: the port or the data folder cannot be had.
    """
    wall = wall or clock or system_clock
    clock = clock or SteadyClock(wall)
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"OCTOHOOKS_DATA_DIR is {settings.data_dir}, which cannot be made a folder:"
            f" {error.strerror}."
        ) from None
    with _held(settings.data_dir):
        database = Database(settings.database_url)
        try:
            await _migrated(database, settings.data_dir)
            server = await _Server.put_together(settings, database, wall, clock)
            address = await server.start(settings.listen)
            try:
                yield Running(address, server.operator_key, server.first_start)
            finally:
                await server.stop()
        finally:
            await database.close()


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
    ) -> None:
        self.operator_key = operator_key
        self.first_start: FirstStart | None = None
        self._database = database
        self._clock = clock
        self._grace = settings.shutdown_grace
        self._stopping = asyncio.Event()
        self._ids = ids = IdFactory(clock, os.urandom)
        feed = Feed()
        seals = Seals(token_key)

        async def write_outcomes(
            conn: AsyncConnection, outcomes: Sequence[Outcome]
        ) -> Sequence[Recorded | OctohooksError]:
            return await record_outcomes(conn, outcomes, now=clock(), ids=ids)

        async def write_drafts(
            conn: AsyncConnection, drafts: Sequence[Draft]
        ) -> Sequence[Accepted | OctohooksError]:
            return await accept(
                conn,
                drafts,
                now=clock(),
                lease=settings.lease,
                may_claim=self._loop.claim_budget(),
            )

        def hand_over(results: Sequence[Accepted | OctohooksError]) -> None:
            for result in results:
                if isinstance(result, Accepted) and result.claimed:
                    self._loop.hand_over(result.claimed)
                if isinstance(result, Accepted) and result.left_due:
                    self._loop.look()

        def announce(results: Sequence[Recorded | OctohooksError]) -> None:
            recorded = [one for one in results if isinstance(one, Recorded) and one.applied]
            feed.announce({one.environment_id for one in recorded})
            if any(one.notified for one in recorded):
                self._loop.look()

        self._acceptances: GroupCommit[Draft, Accepted] = GroupCommit(
            database, write_drafts, hand_over
        )
        self._outcomes: GroupCommit[Outcome, Recorded] = GroupCommit(
            database, write_outcomes, announce
        )
        self._resolver = SystemResolver()
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
        authenticator = Authenticator(database, operator_key=operator_key, clock=wall)
        self._steps = Steps(
            database,
            feed=feed,
            clock=clock,
            take_key_uses=authenticator.take_uses,
            look_for_due=self._loop.look,
        )
        self._upkeep = Upkeep(self._steps.all())
        self._api: ApiServer = build_server(
            Dependencies(
                database=database,
                tokens=PageTokens(seals),
                ids=ids,
                clock=clock,
                random_bytes=os.urandom,
                feed=feed,
                wake_background=self._upkeep.wake,
                recall=self._loop.recall,
                look_for_due=self._loop.look,
                stopping=self._stopping,
            ),
            authenticator=authenticator,
            wall=wall,
            acceptance=Acceptance(self._acceptances, write_drafts, hand_over),
            allowed_subnets=settings.allowed_subnets,
            seals=seals,
            max_watches_per_environment=settings.max_watches_per_environment,
            with_reflection=settings.reflection,
        )
        self._health = Health(self._api, self._loop, database)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def put_together(
        cls, settings: Settings, database: Database, wall: Clock, clock: Clock
    ) -> "_Server":
        """The parts over a migrated database, which gets a key for tokens if it has none."""
        async with database.write() as conn:
            token_key = await instance.ensure_token_key(conn, os.urandom)
        operator_key = (
            settings.operator_key.get_secret_value()
            if settings.operator_key is not None
            else new_key(OPERATOR_KEY_PREFIX, os.urandom)
        )
        return cls(settings, database, wall, clock, token_key, operator_key)

    async def start(self, listen: str) -> str:
        """Begins to deliver and to serve; answers the address that is served at."""
        host = listen.rpartition(":")[0]
        try:
            port = self._api.grpc_server.add_insecure_port(listen)
        except RuntimeError:
            await self._sender.close()
            await self._resolver.close()
            raise SettingsError(
                f"OCTOHOOKS_LISTEN is {listen}, which cannot be listened at; another program may"
                " be doing so."
            ) from None
        # Only now: whoever makes the key must live to print it.
        self.first_start = await make_first_environment(
            self._database, ids=self._ids, clock=self._clock
        )
        self._tasks = [
            asyncio.create_task(self._loop.run()),
            asyncio.create_task(self._upkeep.run()),
            asyncio.create_task(self._health.run()),
        ]
        # Before anybody can ask, since gRPC's health service begins with SERVING.
        await self._health.check()
        await self._api.grpc_server.start()
        return f"{host}:{port}"

    async def stop(self) -> None:
        """Takes on nothing new, finishes what is under way within the grace time, and closes."""
        loop_task, upkeep_task, health_task = self._tasks
        health_task.cancel()
        await self._health.stop_serving()
        self._loop.stop_claiming()
        self._upkeep.stop()
        self._stopping.set()
        await self._api.grpc_server.stop(self._grace.total_seconds())
        await self._acceptances.settle()
        await loop_task
        await self._loop.drain(self._grace)
        await self._outcomes.settle()
        await upkeep_task
        with suppress(OctohooksError):
            await self._steps.note_key_uses()
        await self._sender.close()
        await self._resolver.close()


async def _migrated(database: Database, data_dir: Path) -> None:
    """Brings the database to this release's schema."""
    try:
        await database.run_migration(migrate)
    except (DatabaseError, CommandError):
        raise SettingsError(
            f"OCTOHOOKS_DATA_DIR is {data_dir}, whose octohooks.db is no database of this or an"
            " earlier release."
        ) from None


@contextmanager
def _held(data_dir: Path) -> Iterator[None]:
    """Keeps a second server away from the embedded database, which serves one."""
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"OCTOHOOKS_DATA_DIR is {data_dir}, where another server is running already."
            ) from None
        yield
