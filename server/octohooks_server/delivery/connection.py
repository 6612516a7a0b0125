"""One connection to a receiver: a request goes out, and the answer to it comes in."""

import asyncio
import select
import ssl
from typing import cast

from octohooks_server.delivery.failures import LOST, PROTOCOL, TLS, ExchangeFailed, Failure
from octohooks_server.delivery.response import NotHttp, Response, ResponseReader

_MOST_SECONDS = 60.0


class Connection(asyncio.Protocol):
    """The end here of a connection, over which one exchange is made after the other.

    What comes while no exchange is under way ends the connection. Only before the first one it is
    taken for the beginning of its answer, which a receiver may give before it was asked.
    """

    def __init__(self, *, head_only: bool = False) -> None:
        """With `head_only` an answer of 2xx ends with its head, as that to CONNECT does."""
        self._loop = asyncio.get_running_loop()
        self._reader = ResponseReader(head_only=head_only)
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Until when is waited for an answer, and what looks whether it has come by then. It stays
        # set behind the answer, since most come long before: to set it anew for each costs more.
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # Of the newest answer: whether there is nothing more to wait for, and why in vain.
        self._ended = False
        self._failure: Failure | None = None
        self._is_idle = False
        self._made_at = self._loop.time()

    @property
    def transport(self) -> asyncio.Transport | None:
        """What it runs over; None when it has ended."""
        return self._transport

    @property
    def is_kept(self) -> bool:
        """Whether it is kept for another exchange.

        None is kept for ever, however busy it is, since the name may have got another address.
        """
        return (
            self._is_idle
            and self._transport is not None
            and not self._transport.is_closing()
            and self._loop.time() < self._made_at + _MOST_SECONDS
        )

    def is_quiet(self) -> bool:
        """Whether nothing has come since the last exchange, not even the end of the connection.

        The transport tells only once the event loop gets round to it, which may be too late.
        """
        if self._transport is None or self._poll is None:
            return False
        return not self._poll.poll(0)

    def close(self) -> None:
        """Ends it at once.

        A transport that is closed politely first tries to send what is left, and waits for the
        peer's farewell under TLS; a receiver that does not read could hold it for good.
        """
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, *request: bytes, deadline: float) -> Response:
        """Sends a request and waits for the answer to it, until the loop's time is `deadline`.

        Afterwards the connection is open only if another exchange can be made.

        Raises:
            ExchangeFailed: no whole answer came.
            TimeoutError: it did not come in time.
        """
        if self._is_idle:
            self._is_idle = self._ended = False
            self._reader.begin()
        transport = self._transport
        try:
            if transport is None:
                raise ExchangeFailed(LOST)
            transport.writelines(request)
            if not self._ended:
                await self._wait(deadline)
            if self._failure is not None:
                raise ExchangeFailed(self._failure)
            response = self._reader.response()
            # A request that was answered before all of it was read would run into the next one.
            self._is_idle = self._reader.keeps_alive and not transport.get_write_buffer_size()
        finally:
            if not self._is_idle:
                self.close()
        return response

    async def _wait(self, deadline: float) -> None:
        self._waiter = waiter = self._loop.create_future()
        self._deadline = deadline
        if self._timer is not None and self._timer.when() > deadline:
            self._stop_timer()
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)
        try:
            await waiter
        finally:
            self._waiter = None

    def _expire(self) -> None:
        """Ends the wait if it is as late as that, or looks again when it will be."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._expire)
        else:
            self._waiter.set_exception(TimeoutError())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, failure: Failure | None = None) -> None:
        self._ended = True
        self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by type.
        self._transport = cast(asyncio.Transport, transport)
        socket = transport.get_extra_info("socket")
        if socket is not None:
            self._poll = select.poll()
            self._poll.register(socket.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            self.close()
            return
        try:
            if self._reader.feed(data):
                self._end()
            elif self._reader.is_flood and self._transport is not None:
                # It costs no more than silence, which ends with the timeout.
                self._transport.pause_reading()
        except NotHttp:
            self._end(PROTOCOL)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._stop_timer()
        if self._ended:
            return
        if error is None and self._reader.feed_end():
            self._end()
        else:
            self._end(TLS if isinstance(error, ssl.SSLError) else LOST)
