"""What gRPC's health service says."""

from typing import Any

import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    """The status of a service, or of the server as a whole."""
    answer = await _stub(channel).Check(HealthCheckRequest(service=service))
    return int(answer.status)


class HealthWatch:
    """The status of the server as a whole, as it changes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = _stub(channel).Watch(HealthCheckRequest())

    async def next_status(self) -> int:
        """The status at first, and then each change; waits for it."""
        return int((await self._call.read()).status)


def _stub(channel: grpc.aio.Channel) -> Any:
    """The generated stub, whose methods its types leave out."""
    return HealthStub(channel)
