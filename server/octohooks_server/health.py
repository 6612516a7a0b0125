"""Health: SERVING only while the database answers and the delivery loop makes progress."""

import asyncio

import structlog
from grpc_health.v1.health_pb2 import HealthCheckResponse
from sqlalchemy import select

from octohooks_server.api.server import ApiServer
from octohooks_server.delivery.loop import DeliveryLoop
from octohooks_server.errors import OctohooksError
from octohooks_server.store.database import Database

log = structlog.get_logger()

_SECONDS_BETWEEN_CHECKS = 2.0
_MOST_SECONDS_WITHOUT_PROGRESS = 10.0
_DATABASE_SECONDS = 5.0


class Health:
    """Tells gRPC's health service how the server is, for all services and for each.

    `loop` is None where this server does not deliver.
    """

    def __init__(self, server: ApiServer, loop: DeliveryLoop | None, database: Database) -> None:
        self._server = server
        self._loop = loop
        self._database = database
        self._told: bool | None = None

    async def run(self) -> None:
        """Checks for ever; cancel it to end it."""
        while True:
            await self.check()
            await asyncio.sleep(_SECONDS_BETWEEN_CHECKS)

    async def check(self) -> None:
        """Looks once, and tells what it found."""
        await self._tell(await self._is_well())

    async def stop_serving(self) -> None:
        """Says that no new calls should come, whatever the checks found."""
        await self._tell(False)

    async def _is_well(self) -> bool:
        if (
            self._loop is not None
            and self._loop.seconds_since_progress() > _MOST_SECONDS_WITHOUT_PROGRESS
        ):
            return False
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
