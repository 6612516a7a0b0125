"""The HTTP port for whoever observes: `/metrics`, `/livez` and `/readyz`."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_SECONDS_FOR_A_STOP = 1.0


class ObservationPort:
    """Serves what is observed over plain HTTP, without authentication; nothing there is secret."""

    def __init__(
        self,
        registry: Collector,
        *,
        refresh: Callable[[], Awaitable[None]],
        is_live: Callable[[], bool],
        is_ready: Callable[[], bool],
    ) -> None:
        """`refresh` is awaited before metrics are read. A process that is not live should be
        started anew; one that is not ready should get no calls.
        """
        self._registry = registry
        self._refresh = refresh
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", _answer(is_live)),
                web.get("/readyz", _answer(is_ready)),
            ]
        )
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_SECONDS_FOR_A_STOP
        )

    async def start(self, host: str, port: int) -> int:
        """Serves at this address; answers the port, which is a free one for port 0.

        Raises:
            OSError: it cannot be listened at.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Serves no more."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._refresh()
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return web.Response(body=encode(self._registry), headers={"content-type": content_type})


def _answer(is_well: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        if is_well():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not ok\n")

    return answer
