"""gRPC's health service, whose watches end with the server instead of holding up its stop."""

import asyncio
from typing import Any

from grpc_health.v1.health import aio as health_aio


class HealthServicer(health_aio.HealthServicer):
    """Load balancers and clients keep a watch of the health open all the time."""

    def __init__(self, stopping: asyncio.Event) -> None:
        """`stopping` is set when the server begins to stop, after the health was set for it."""
        super().__init__()
        self._stopping = stopping

    async def Watch(self, request: Any, context: Any) -> None:
        """Each change of the health, from the present one on, until the server stops."""
        watch = asyncio.ensure_future(super().Watch(request, context))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([watch, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            stop.cancel()
