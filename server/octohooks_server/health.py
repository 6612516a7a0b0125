"""Health: SERVING only while the database answers and every part of the server makes progress.

A part that ended by a defect, or that hangs although the database answers, makes the whole server
fail: whoever runs it ends the process, so that another one begins anew. Else calls would go on to
be accepted in front of a delivery loop that is dead.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from grpc_health.v1.health_pb2 import HealthCheckResponse
from sqlalchemy import select

from octohooks_server.api.server import ApiServer
from octohooks_server.errors import OctohooksError
from octohooks_server.store.database import Database
from octohooks_server.waiting import wait_at_most

log = structlog.get_logger()

_SECONDS_BETWEEN_CHECKS = 2.0
_DATABASE_SECONDS = 5.0
# For how many checks in a row a part may hang, a minute in all. Counted and not timed, since a
# process that was suspended finds that everything in it has stood still.
_CHECKS_BEFORE_GIVING_UP = 30


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the server that always has to go on."""

    name: str
    # How long ago it last did its work, and how long ago it last came so far as to succeed or fail
    # at it. What fails again and again is not well, but another process would fare no better.
    seconds_since_progress: Callable[[], float]
    seconds_since_turn: Callable[[], float]
    # How long either may take.
    most_seconds: float


class Health:
    """Tells gRPC's health service how the server is, for all services and for each."""

    def __init__(self, server: ApiServer, database: Database, parts: Sequence[Part]) -> None:
        self._server = server
        self._database = database
        self._parts = parts
        self._told: bool | None = None
        self._hanging_checks = 0
        self._check_now = asyncio.Event()
        # Set when the process should end and another one begin.
        self.failed = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        """Whether calls should come, as it was told last."""
        return self._told is True

    async def run(self) -> None:
        """Checks for ever; cancel it to end it."""
        while True:
            self._check_now.clear()
            await self.check()
            await wait_at_most(_SECONDS_BETWEEN_CHECKS, self._check_now)

    async def check(self) -> None:
        """Looks once, and tells what it found."""
        await self._tell(await self._is_well())

    async def stop_serving(self) -> None:
        """Says that no new calls should come, whatever the checks found."""
        await self._tell(False)

    def part_died(self, name: str, error: BaseException) -> None:
        """Takes note that a part ended by a defect."""
        log.critical("part_died", part=name, exc_info=error)
        self.failed.set()
        self._check_now.set()

    async def _is_well(self) -> bool:
        standing = [one for one in self._parts if one.seconds_since_progress() > one.most_seconds]
        hanging = [one for one in self._parts if one.seconds_since_turn() > one.most_seconds]
        answers = await self._database_answers()
        self._hanging_checks = self._hanging_checks + 1 if hanging and answers else 0
        if standing and self._told is not False:
            log.error("no_progress", parts=[one.name for one in standing])
        if self._hanging_checks >= _CHECKS_BEFORE_GIVING_UP and not self.failed.is_set():
            log.critical("given_up", parts=[one.name for one in hanging])
            self.failed.set()
        return answers and not standing and not hanging and not self.failed.is_set()

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(_DATABASE_SECONDS), self._database.read() as conn:
                await conn.execute(select(1))
        except (OctohooksError, TimeoutError):
            return False
        except Exception as error:
            # A defect of ours must not end the checks.
            log.error("health_check_failed", exc_info=error)
            return False
        return True

    async def _tell(self, is_well: bool) -> None:
        if is_well == self._told:
            return
        self._told = is_well
        status = HealthCheckResponse.SERVING if is_well else HealthCheckResponse.NOT_SERVING
        for name in ("", *self._server.service_names):
            await self._server.health.set(name, status)
        log.info("health", serving=is_well)
