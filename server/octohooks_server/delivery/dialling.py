"""New connections to receivers: straight to an allowed address, or through the outbound proxy."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from octohooks_server.delivery.connection import Connection
from octohooks_server.delivery.failures import (
    ADDRESS_BLOCKED,
    LOST,
    NAME_NOT_RESOLVED,
    PROXY_REFUSED,
    PROXY_UNREACHABLE,
    ExchangeFailed,
    not_connected,
)
from octohooks_server.delivery.resolver import NameNotResolved, Resolver
from octohooks_server.delivery.sockets import AddressBlocked, connect_to_first
from octohooks_server.rules.addresses import Subnet, is_allowed
from octohooks_server.rules.outcome import succeeded
from octohooks_server.rules.urls import EndpointUrl


class Route(NamedTuple):
    """Where a connection leads; exchanges of the same route can share one."""

    is_tls: bool
    host: str
    """The receiver's name, which its certificate must be for, or its address."""
    port: int
    proxied_to: str | None = None
    """The address that the outbound proxy is asked to connect to, where there is a proxy."""


class Dialler(Protocol):
    """Makes connections."""

    async def dial(self, route: Route, *, deadline: float) -> Connection:
        """A new connection, or ExchangeFailed. The caller waits until the loop's `deadline`."""
        ...


class Direct:
    """Connects to receivers, at addresses that are allowed."""

    def __init__(
        self, *, resolver: Resolver, allowed_subnets: Sequence[Subnet], tls: ssl.SSLContext
    ) -> None:
        self._resolver = resolver
        self._allowed_subnets = allowed_subnets
        self._tls = tls

    async def dial(self, route: Route, *, deadline: float) -> Connection:
        try:
            addresses = await _addresses(self._resolver, route.host)
            made = await connect_to_first(addresses, route.port, self._allowed_subnets)
            return await _over(made, Connection(), self._tls if route.is_tls else None, route.host)
        except AddressBlocked:
            raise ExchangeFailed(ADDRESS_BLOCKED) from None
        except NameNotResolved:
            raise ExchangeFailed(NAME_NOT_RESOLVED) from None
        except OSError as error:
            raise ExchangeFailed(not_connected(error)) from None


class ThroughProxy:
    """Connects to the outbound proxy, whose own address is not checked.

    `https` receivers are reached by a tunnel; requests to others are put to the proxy itself.
    """

    def __init__(
        self,
        proxy: str,
        *,
        resolver: Resolver,
        allowed_subnets: Sequence[Subnet],
        tls: ssl.SSLContext,
    ) -> None:
        """`proxy` is `http://[user:password@]host:port`."""
        parts = urlsplit(proxy)
        assert parts.hostname is not None
        self._host = parts.hostname
        self._port = parts.port or 80
        self._resolver = resolver
        self._allowed_subnets = allowed_subnets
        self._tls = tls
        self.authorization = b""
        """The line of the head that says who asks, where the proxy's URL does."""
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.authorization = b"proxy-authorization: Basic %b\r\n" % b64encode(user.encode())

    async def route_to(self, url: EndpointUrl) -> Route:
        """By the first address of the receiver that is allowed, as of now; or ExchangeFailed."""
        try:
            addresses = await _addresses(self._resolver, url.host)
        except NameNotResolved:
            raise ExchangeFailed(NAME_NOT_RESOLVED) from None
        for address in addresses:
            if is_allowed(address, self._allowed_subnets):
                return Route(url.scheme == "https", url.host, url.port, address)
        raise ExchangeFailed(ADDRESS_BLOCKED)

    async def dial(self, route: Route, *, deadline: float) -> Connection:
        try:
            addresses = await _addresses(self._resolver, self._host)
            made = await connect_to_first(addresses, self._port, None)
            connection = await _over(made, Connection(head_only=route.is_tls), None, self._host)
        except OSError:
            raise ExchangeFailed(PROXY_UNREACHABLE) from None
        return await self._tunnel(connection, route, deadline) if route.is_tls else connection

    async def _tunnel(self, outer: Connection, route: Route, deadline: float) -> Connection:
        target = authority(route.proxied_to or route.host, route.port)
        head = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, self.authorization)
        response = await outer.exchange(head, deadline=deadline)
        if not succeeded(response.status):
            outer.close()
            raise ExchangeFailed(PROXY_REFUSED)
        if outer.transport is None:
            raise ExchangeFailed(LOST)
        inner = Connection()
        try:
            transport = await asyncio.get_running_loop().start_tls(
                outer.transport, inner, self._tls, server_hostname=_server_name(route.host)
            )
        except BaseException as error:
            outer.close()
            if isinstance(error, OSError):
                raise ExchangeFailed(not_connected(error)) from None
            raise
        if transport is None:
            raise ExchangeFailed(LOST)
        # What `start_tls` leaves to whoever calls it.
        inner.connection_made(transport)
        return inner


def authority(host: str, port: int) -> bytes:
    """Host and port as a request names them."""
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()


def default_tls() -> ssl.SSLContext:
    """TLS that trusts whom the system trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _addresses(resolver: Resolver, host: str) -> Sequence[str]:
    try:
        ip_address(host)
    except ValueError:
        return await resolver.addresses(host)
    return [host]


async def _over(
    made: socket.socket, connection: Connection, tls: ssl.SSLContext | None, host: str
) -> Connection:
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: connection,
            sock=made,
            ssl=tls,
            server_hostname=_server_name(host) if tls else None,
        )
    except BaseException:
        made.close()
        raise
    return connection


def _server_name(host: str) -> str:
    # A name may be given as absolute, which no certificate is for.
    return host.removesuffix(".")
