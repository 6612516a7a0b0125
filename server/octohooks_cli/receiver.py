"""An HTTP server that takes in webhooks on this machine, for `octohooks listen` and the demo."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from octohooks import Webhook, WebhookVerificationError

from octohooks_cli.failures import CommandFailed


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that came, and how it was answered."""

    time: datetime
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    verified: bool | None
    """Whether the signature is right; None when it was not checked, for want of a secret."""
    problem: str
    """What is wrong with the signature; empty unless something is."""
    status: int

    @property
    def webhook_id(self) -> str:
        """The message's ID, as the request says; empty when it does not."""
        return next((value for name, value in self.headers if name.lower() == "webhook-id"), "")


class Receiver:
    """Answers every request and reports each, the first ones with a failure if it is told so."""

    def __init__(
        self,
        report: Callable[[Arrival], None],
        *,
        webhook: Webhook | None,
        fail_first: int = 0,
        status: int = 200,
    ) -> None:
        self._report = report
        self._webhook = webhook
        self._failures_left = fail_first
        self._status = status

    @asynccontextmanager
    async def serving(self, listening: socket.socket) -> AsyncIterator[None]:
        """Serves at the socket as long as the block lasts."""
        runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield
        finally:
            await runner.cleanup()

    def serve_until_interrupted(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        """Serves at the socket, calls `ready`, and goes on until Ctrl-C, which comes out as
        KeyboardInterrupt."""

        async def serve() -> None:
            async with self.serving(listening):
                ready()
                await asyncio.Event().wait()

        asyncio.run(serve())

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        verified, problem = self._verdict(request, body)
        status = self._status
        if self._failures_left:
            self._failures_left -= 1
            status = 500
        self._report(
            Arrival(
                time=datetime.now(UTC),
                method=request.method,
                path=request.path_qs,
                headers=tuple(request.headers.items()),
                body=body,
                verified=verified,
                problem=problem,
                status=status,
            )
        )
        return web.Response(status=status)

    def _verdict(self, request: web.BaseRequest, body: bytes) -> tuple[bool | None, str]:
        if self._webhook is None:
            return None, ""
        try:
            self._webhook.verify(body, request.headers)
        except WebhookVerificationError as error:
            return False, str(error)
        return True, ""


def listen_at(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        CommandFailed: the address is taken, or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen at {host} port {port}: {error.strerror}. --port takes another one."
        ) from error


def url_of(listening: socket.socket) -> str:
    """The URL under which this machine reaches the socket."""
    host, port, *_ = listening.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
