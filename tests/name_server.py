"""A DNS server on loopback that knows the names a test tells it, and answers as the test says."""

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address
from types import TracebackType
from typing import Self, cast

Addresses = Sequence[str] | Callable[[], Sequence[str]]
"""What a name leads to. A function is called anew for each look-up, so that the answer can change,
and gives IPv4 addresses alone."""

_A, _AAAA = 1, 28
_OF_VERSION = {4: _A, 6: _AAAA}
_HEAD_BYTES = 12
_NAME_ERROR = 3


class NameServer(asyncio.DatagramProtocol):
    """Knows these names, and never answers for others.

    Names may hold `*` for anything. A name without addresses does not exist. No answer may be kept,
    so that each look-up is seen here.
    """

    def __init__(self, names: Mapping[str, Addresses]) -> None:
        self.names = dict(names)
        self.asked: list[str] = []
        """The names that were asked for, once for each look-up."""
        self.port = 0
        self.losses = 0
        """How many of the next questions get lost."""
        self._arrived: asyncio.Queue[str] = asyncio.Queue()
        self._is_holding_back = False
        self._held_back: list[tuple[bytes, tuple[str, int]]] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    @property
    def address(self) -> str:
        """Where it is asked, as `address:port`."""
        return f"127.0.0.1:{self.port}"

    async def next_look_up(self) -> str:
        """The next name that was asked for and not taken yet; waits for it."""
        return await self._arrived.get()

    def hold_back(self) -> None:
        """Keep all answers until they are let go."""
        self._is_holding_back = True

    def let_go(self) -> None:
        """Send the answers that were held back, and those to come at once."""
        assert self._transport is not None
        self._is_holding_back = False
        for answer, asker in self._held_back:
            self._transport.sendto(answer, asker)
        self._held_back.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, asker: tuple[str, int]) -> None:
        name, end = _question(data)
        (kind,) = struct.unpack_from(">H", data, end)
        # Each look-up asks for both kinds; the first one counts.
        if kind == _A:
            self.asked.append(name)
            self._arrived.put_nowait(name)
        known = self._addresses_of(name)
        if known is None:
            return
        if self.losses:
            self.losses -= 1
            return
        if callable(known):
            exists, addresses = True, known() if kind == _A else ()
        else:
            exists, addresses = len(known) > 0, known
        records = [
            struct.pack(">HHHIH", 0xC000 | _HEAD_BYTES, kind, 1, 0, len(address.packed))
            + address.packed
            for address in map(ip_address, addresses)
            if _OF_VERSION[address.version] == kind
        ]
        flags = 0x8180 | (0 if exists else _NAME_ERROR)
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        self._held_back.append((head + data[_HEAD_BYTES : end + 4] + b"".join(records), asker))
        if not self._is_holding_back:
            self.let_go()

    def _addresses_of(self, name: str) -> Addresses | None:
        found = (known for pattern, known in self.names.items() if fnmatchcase(name, pattern))
        return next(found, None)


def _question(data: bytes) -> tuple[str, int]:
    """The name that is asked for, and where what is asked about it begins."""
    labels = []
    position = _HEAD_BYTES
    while length := data[position]:
        labels.append(data[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels), position + 1
