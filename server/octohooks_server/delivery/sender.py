"""Sends one signed webhook and says what happened."""

import asyncio
import ssl
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import aiohttp
import structlog
from multidict import CIMultiDict
from octohooks.v1.attempt_pb2 import ErrorKind
from yarl import URL

from octohooks_server.delivery import failures
from octohooks_server.delivery.connector import LINK, AddressBlocked, Connector, Link
from octohooks_server.delivery.exchange import MAX_BODY_BYTES, MAX_HEADER_BYTES, Exchange
from octohooks_server.delivery.failures import Failure, UrlRefused
from octohooks_server.delivery.resolver import Resolver
from octohooks_server.rules.addresses import Subnet, is_allowed
from octohooks_server.rules.endpoint_headers import header_problem
from octohooks_server.rules.outcome import succeeded
from octohooks_server.rules.signing import SigningKey, sign
from octohooks_server.rules.urls import EndpointUrl, parse_url

__all__ = ["Exchange", "Sender"]

_log = structlog.get_logger(__name__)

# Together they bound what a response's head can make the process hold, at well above what is kept:
# a successful response is not failed for being wordy.
_MAX_LINE_BYTES = 8190
_MAX_HEADERS = 100

_SWITCHING_PROTOCOLS = 101


class Sender:
    """Makes attempts. Make it inside a running event loop, and close it at the end.

    No connection is made to an address that is not allowed: every address is checked where it is
    dialled. No redirect is followed, no cookie kept, no environment variable read.

    With an outbound proxy all connections go to the proxy, whose own address is not checked. The
    address of the receiver is then looked up and checked here, and it is the address, not the name,
    that the proxy is asked to connect to; so what was checked is what is connected to, and the
    proxy has no name to look up. This server must be able to look up names even then. `https`
    receivers see no difference, since their certificate is checked against the name inside the
    tunnel. A receiver of plain `http` may see its address in place of its name as `host`, because a
    proxy makes that header anew from the request line.
    """

    def __init__(
        self,
        *,
        timeout: timedelta,
        resolver: Resolver,
        user_agent: str,
        clock: Callable[[], datetime],
        allowed_subnets: Sequence[Subnet] = (),
        max_connections: int = 500,
        outbound_proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` covers a whole exchange, and waiting for one of `max_connections` counts in it;
        whoever calls should not have more exchanges under way than that. `outbound_proxy` is
        `http://[user:password@]host:port`. `tls` is the system's trusted roots unless given. The
        resolver stays the caller's to close.
        """
        self._timeout = timeout.total_seconds()
        self._resolver = resolver
        self._user_agent = user_agent
        self._clock = clock
        self._monotonic = monotonic
        self._allowed_subnets = tuple(allowed_subnets)
        self._proxy = URL(outbound_proxy) if outbound_proxy is not None else None
        self._session = aiohttp.ClientSession(
            connector=Connector(
                resolver=resolver,
                allowed_subnets=None if self._proxy else self._allowed_subnets,
                max_connections=max_connections,
                tls=tls if tls is not None else _default_tls(),
            ),
            # Ours covers more, and aiohttp rounds its own up to whole seconds.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=MAX_BODY_BYTES,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        await self._session.close()

    async def send(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        message_id: str,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> Exchange:
        """Post `body` to `url`, signed by `keys` (newest first) as of now.

        `headers` are the endpoint's own. Every failure is a value; only cancellation is raised.
        """
        started_at = self._clock()
        began = self._monotonic()
        link = Link()
        LINK.set(link)
        response = _NO_RESPONSE
        try:
            async with asyncio.timeout(self._timeout):
                request = await self._addressed(_parsed(url))
                wire_headers = self._headers(
                    headers, request.host_header, message_id, started_at, body, keys
                )
                response = await self._post(request, wire_headers, body)
            failure = _judged(response.status)
        except TimeoutError:
            failure = Failure(
                failures.TIMEOUT.kind, failures.TIMEOUT.detail.format(seconds=self._timeout)
            )
        except Exception as error:
            known = failures.failure_of(error, proxied=self._proxy is not None)
            if known is None:
                # Where it came from, without the text, which may hold what nobody should log.
                _log.error(
                    "exchange_failed_unexpectedly",
                    error=type(error).__qualname__,
                    traceback="".join(traceback.format_tb(error.__traceback__)),
                )
            failure = known or failures.PROTOCOL
        finally:
            link.drop_if_closing()
        return Exchange(
            started_at=started_at,
            duration=timedelta(seconds=self._monotonic() - began),
            status=response.status,
            headers=response.headers,
            body=response.body,
            truncated=response.truncated,
            error_kind=failure.kind,
            error_detail=failure.detail,
        )

    async def _addressed(self, parsed: "_Parsed") -> "_Request":
        """Where the request goes: to the name, or through a proxy to an address that is allowed."""
        if self._proxy is None:
            return parsed.direct
        url = parsed.url
        addresses = [url.host] if url.is_address else await self._resolver.addresses(url.host)
        for address in addresses:
            if is_allowed(address, self._allowed_subnets):
                return _request_to(url, address)
        raise AddressBlocked

    def _headers(
        self,
        own: Mapping[str, str],
        host: str,
        message_id: str,
        started_at: datetime,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> CIMultiDict[str]:
        timestamp = int(started_at.timestamp())
        headers = CIMultiDict(
            {
                "host": host,
                "content-type": "application/json",
                "user-agent": self._user_agent,
                # Nothing is decompressed, so nothing compressed is asked for.
                "accept-encoding": "identity",
                "accept": "*/*",
            }
        )
        for name, value in own.items():
            # Refused when the endpoint was written; this is the last line of defence.
            if header_problem(name, value) is None:
                headers[name] = value
        headers["webhook-id"] = message_id
        headers["webhook-timestamp"] = str(timestamp)
        headers["webhook-signature"] = sign(
            keys, message_id=message_id, timestamp=timestamp, body=body
        )
        return headers

    async def _post(
        self, request: "_Request", headers: CIMultiDict[str], body: bytes
    ) -> "_Response":
        async with self._session.post(
            request.url,
            data=body,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxy,
            server_hostname=request.server_hostname,
        ) as response:
            if response.status == _SWITCHING_PROTOCOLS:
                # It was not asked to, and what follows is not HTTP.
                response.close()
                raise aiohttp.ClientPayloadError
            content, truncated = await _read(response.content)
            return _Response(
                response.status, _kept_headers(response.raw_headers), content, truncated
            )


class _Request(NamedTuple):
    url: URL
    host_header: str
    server_hostname: str | None
    """The name that the certificate must be for, where the URL has an address in its place."""


class _Parsed(NamedTuple):
    url: EndpointUrl
    direct: _Request


class _Response(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool


_NO_RESPONSE = _Response(0, (), b"", False)


@lru_cache(maxsize=4096)
def _parsed(url: str) -> _Parsed:
    try:
        parsed = parse_url(url)
    except ValueError:
        raise UrlRefused from None
    return _Parsed(parsed, _request_to(parsed, parsed.host))


def _request_to(url: EndpointUrl, host: str) -> _Request:
    bracketed = f"[{host}]" if ":" in host else host
    by_name = host == url.host
    return _Request(
        # Made of checked parts, and "encoded" so that they go out as they are.
        url=URL(f"{url.scheme}://{bracketed}:{url.port}{url.target}", encoded=True),
        host_header=url.host_header,
        server_hostname=None if by_name or url.scheme == "http" else url.host.removesuffix("."),
    )


async def _read(stream: aiohttp.StreamReader) -> tuple[bytes, bool]:
    """The first 16 KiB, and whether there is more; at most one byte more is taken."""
    chunks: list[bytes] = []
    missing = MAX_BODY_BYTES + 1
    while missing and (chunk := await stream.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    content = b"".join(chunks)
    return content[:MAX_BODY_BYTES], missing == 0


def _kept_headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    kept: list[tuple[str, str]] = []
    size = 0
    for name, value in raw:
        size += len(name) + len(value)
        if size > MAX_HEADER_BYTES:
            break
        kept.append((name.decode(errors="replace"), value.decode(errors="replace")))
    return tuple(kept)


@lru_cache(maxsize=1000)
def _judged(status: int) -> Failure:
    if succeeded(status):
        return Failure(ErrorKind.ERROR_KIND_UNSPECIFIED, "")
    if 300 <= status <= 399:
        return Failure(
            ErrorKind.ERROR_KIND_REDIRECT,
            f"The endpoint answered with the redirect {status}, which is not followed.",
        )
    return Failure(
        ErrorKind.ERROR_KIND_HTTP_STATUS, f"The endpoint answered with the status {status}."
    )


def _default_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
