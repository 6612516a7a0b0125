"""Connections to receivers, made only to addresses that are allowed.

Everything here leans on how aiohttp (3.14.1 or newer) makes connections; the sender does not.
"""

import socket
import weakref
from contextvars import ContextVar
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.helpers import set_exception

from octohooks_server.delivery.resolver import Resolver
from octohooks_server.rules.addresses import Subnet, is_allowed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from ssl import SSLContext

# Receivers commonly close a connection that idles for 5 seconds. One that is closed just as it is
# used again costs a failed attempt, since a POST is not repeated by itself.
_KEEP_ALIVE_SECONDS = 4.0

# What the kernel may hand over at once, and so what a receiver can make the process hold.
_RECEIVE_BUFFER_BYTES = 32 * 1024


class AddressBlocked(OSError):
    """The address is neither public nor allowed. An OSError, so that the next address is tried."""

    def __init__(self) -> None:
        # The same for every address: aiohttp keeps the class only of errors that read the same.
        super().__init__("the address is not allowed")


class Link:
    """The connection that one exchange uses, as far as it got."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None

    def uses(self, transport: "asyncio.Transport | None") -> None:
        """Called once the exchange has its connection."""
        self._transport = transport

    def drop_if_closing(self) -> None:
        """Cut a connection that is on its way out.

        A transport that was closed politely first tries to send what is left, and waits for the
        peer's farewell under TLS; a receiver that does not read could hold it for good.
        """
        if self._transport is not None and self._transport.is_closing():
            self._transport.abort()


LINK: ContextVar[Link] = ContextVar("LINK")
"""Where the connector says which connection the exchange in this context uses."""


class Connector(aiohttp.TCPConnector):
    """Dials addresses only after they were checked, whether they came from a name or a URL."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        allowed_subnets: "Sequence[Subnet] | None",
        max_connections: int,
        tls: "SSLContext",
    ) -> None:
        """`allowed_subnets` None checks nothing: for a connector that only dials the proxy."""
        super().__init__(
            resolver=_AiohttpResolver(resolver),
            # The resolver has its own cache, which keeps to the time to live.
            use_dns_cache=False,
            ssl=tls,
            limit=max_connections,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            socket_factory=_socket
            if allowed_subnets is None
            else partial(_checked_socket, allowed_subnets),
        )
        handler: type[ResponseHandler] = _Handler
        self._factory = partial(handler, loop=self._loop)
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        """A connection on which nothing has come that was not asked for.

        aiohttp hands out an idle connection as long as it is open, and would take what a receiver
        sent on it in the meantime for the answer to the next request.
        """
        while True:
            connection = await super().connect(*args, **kwargs)
            protocol = connection.protocol
            assert protocol is not None
            if protocol in self._used and protocol.should_close:
                connection.close()
                continue
            self._used.add(protocol)
            LINK.get().uses(connection.transport)
            return connection


class _Handler(ResponseHandler):
    """One connection's end here, which tells a body that is being read when no rest can follow.

    aiohttp (3.14.5) tells only whoever waits for a response when what comes cannot be parsed; a
    broken chunk behind a good head would keep the reader of the body waiting till the timeout.
    """

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        super().set_exception(exc, exc if exc_cause is None else exc_cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            set_exception(body, aiohttp.ClientPayloadError(), exc)


def _checked_socket(allowed: "Sequence[Subnet]", address_info: AddrInfoType) -> socket.socket:
    """The one choke point: called with the very address that is dialled next."""
    if not is_allowed(address_info[4][0], allowed):
        raise AddressBlocked
    return _socket(address_info)


def _socket(address_info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address_info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    return made


class _AiohttpResolver(AbstractResolver):
    """A `Resolver` in the form that aiohttp asks."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._resolver.addresses(host)
        ]

    async def close(self) -> None:
        """The resolver belongs to whoever made it."""
