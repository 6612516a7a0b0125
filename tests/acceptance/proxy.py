"""A way to a server that can be cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

_BYTES_AT_ONCE = 65_536


class CuttingProxy:
    """Carries bytes to an address and back, until it resets every connection that there is."""

    def __init__(self, target: str) -> None:
        """`target` as `address:port`; nobody has to be there yet, or always."""
        host, _, port = target.rpartition(":")
        self._host, self._port = host, int(port)
        self._server: asyncio.Server | None = None
        self._carriers: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Ends every connection in the middle of whatever it carries."""
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrier = asyncio.create_task(self._carry_both_ways(reader, writer))
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)

    async def _carry_both_ways(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            async with self._opened(writer):
                there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
                async with self._opened(there_writer):
                    await asyncio.gather(_carry(reader, there_writer), _carry(there_reader, writer))

    @contextlib.asynccontextmanager
    async def _opened(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_BYTES_AT_ONCE):
        writer.write(chunk)
        await writer.drain()
    # The other direction ends with this one.
    writer.transport.abort()
