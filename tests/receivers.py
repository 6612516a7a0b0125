"""Receivers of webhooks on loopback that record exact bytes and answer as each test scripts it.

They speak HTTP/1.1 by hand, so that they can also speak it wrongly.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_MAX_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    head: bytes
    """Request line and headers, with the empty line that ends them."""
    body: bytes
    """As many bytes as `content-length` announced."""

    @property
    def line(self) -> str:
        """Such as `POST /hook HTTP/1.1`."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """In their order and case."""
        lines = self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        pairs = (line.decode("utf-8").split(":", 1) for line in lines)
        return [(name, value.strip(" ")) for name, value in pairs]

    def all(self, name: str) -> list[str]:
        """The values of every header of this name, in any case."""
        return [value for one, value in self.headers if one.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The value of a header that is there exactly once."""
        (value,) = self.all(name)
        return value


class Connection:
    """The receiver's end of one connection, in the hands of a script."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.request: Request | None = None
        """The request that the script is run for."""

    async def write(self, data: bytes) -> None:
        """Send these bytes; ConnectionError once the sender has gone."""
        self._writer.write(data)
        await self._writer.drain()

    async def read_request(self) -> Request:
        """The next request; IncompleteReadError when the sender closes instead."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = Request(head, b"").all("content-length")
        body = await self._reader.readexactly(int(length[0])) if length else b""
        return Request(head, body)

    async def read_to_the_end(self) -> int:
        """How many bytes still come until the sender closes or resets the connection."""
        count = 0
        with contextlib.suppress(ConnectionError):
            while chunk := await self._reader.read(_MAX_HEAD_BYTES):
                count += len(chunk)
        return count

    async def tunnel(self, host: str, port: int) -> None:
        """Carry bytes between here and there until either side ends."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(_carry(reader, self._writer), _carry(self._reader, writer))
        finally:
            writer.transport.abort()

    def close(self) -> None:
        """Close in the ordinary way."""
        self._writer.close()

    def reset(self) -> None:
        """Close with a reset, as a crashed receiver does."""
        made = self._writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether the script has ended it."""
        return self._writer.is_closing()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


Script = Callable[[Connection], Awaitable[None]]
"""What a receiver does once a request has come. The connection is kept when it returns."""


def respond(
    status: int = 200, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
) -> Script:
    """A well-formed response."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
    if status != 204:
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    return send(head + body)


def send(*pieces: bytes) -> Script:
    """These bytes, whatever they are; the connection stays open."""

    async def script(connection: Connection) -> None:
        for piece in pieces:
            await connection.write(piece)

    return script


def send_and_close(*pieces: bytes) -> Script:
    """These bytes, and then the end of the connection."""

    async def script(connection: Connection) -> None:
        await send(*pieces)(connection)
        connection.close()

    return script


def send_and_reset(*pieces: bytes) -> Script:
    """These bytes, and then a reset."""

    async def script(connection: Connection) -> None:
        await send(*pieces)(connection)
        connection.reset()

    return script


def repeat(piece: bytes, *, after: bytes = b"", pause: float = 0.0) -> Script:
    """`after` and then `piece` for ever, with a pause in between."""

    async def script(connection: Connection) -> None:
        await connection.write(after)
        while True:
            await connection.write(piece)
            await asyncio.sleep(pause)

    return script


async def stay_silent(connection: Connection) -> None:
    """Never answer."""
    await connection.read_to_the_end()


async def tunnel(connection: Connection) -> None:
    """Do what CONNECT asks of a proxy."""
    assert connection.request is not None
    method, target, _ = connection.request.line.split(" ")
    assert method == "CONNECT"
    host, _, port = target.rpartition(":")
    await connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await connection.tunnel(host.strip("[]"), int(port))
    connection.close()


class Receiver:
    """An HTTP/1.1 server: each request runs the next script, and the last one stays.

    Without scripts every request is answered with 200.
    """

    def __init__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_connect: Script | None = None,
    ) -> None:
        """`on_connect` runs before a request is read. Port 0 takes a free one."""
        self._scripts = list(scripts) or [respond()]
        self._host = host
        self.port = port
        self._tls = tls
        self._on_connect = on_connect
        self._server: asyncio.Server | None = None
        self._arrived: asyncio.Queue[Request] = asyncio.Queue()
        self._handlers: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.WriteTransport] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.ended_connections = 0
        self._connection_ended = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self.port, ssl=self._tls, limit=_MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        # A handler that was cancelled before its first step has closed nothing.
        for transport in self._transports:
            transport.abort()
        # Those that come at this moment are met by `_accept`, which turns them away.
        for _ in range(3):
            await asyncio.sleep(0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """A URL of it, by address."""
        return self.url_of(f"[{self._host}]" if ":" in self._host else self._host)

    def url_of(self, host: str) -> str:
        """A URL of it under another host name."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/hook"

    async def next_request(self) -> Request:
        """The next request that was not taken yet; waits for it."""
        return await self._arrived.get()

    async def wait_for_ended_connections(self, count: int) -> None:
        """Wait until as many connections as this have ended."""
        async with self._connection_ended:
            await self._connection_ended.wait_for(lambda: self.ended_connections >= count)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None or not self._server.is_serving():
            # It came as the receiver was closed.
            writer.transport.abort()
            return
        self._transports.add(writer.transport)
        handler = asyncio.create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        self.connections += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        try:
            # The sender may leave whenever it likes.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(connection)
        finally:
            writer.transport.abort()
            self._transports.discard(writer.transport)
            async with self._connection_ended:
                self.ended_connections += 1
                self._connection_ended.notify_all()

    async def _converse(self, connection: Connection) -> None:
        if self._on_connect is not None:
            await self._on_connect(connection)
        while not connection.is_closing:
            request = connection.request = await connection.read_request()
            self.requests.append(request)
            self._arrived.put_nowait(request)
            script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
            await script(connection)


class Decoy:
    """Listens and never accepts; knows for certain whether anybody connected."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def saw_a_connection(self) -> bool:
        """Whether the system has completed a connection to it."""
        try:
            accepted, _ = self._socket.accept()
        except BlockingIOError:
            return False
        accepted.close()
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with Decoy("::1"):
            return True
    except OSError:
        return False
