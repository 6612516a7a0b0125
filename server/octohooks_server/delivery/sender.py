"""Sends one signed webhook and says what happened."""

import asyncio
import ssl
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import structlog
from octohooks.v1.attempt_pb2 import ErrorKind

from octohooks_server.delivery.dialling import Direct, Route, ThroughProxy, default_tls
from octohooks_server.delivery.exchange import Exchange
from octohooks_server.delivery.failures import (
    NO_FAILURE,
    PROTOCOL,
    ExchangeFailed,
    Failure,
    timed_out,
)
from octohooks_server.delivery.pool import Pool
from octohooks_server.delivery.request import Target, first_lines_to_proxy, own_lines, target_of
from octohooks_server.delivery.resolver import Resolver
from octohooks_server.delivery.response import Response
from octohooks_server.rules.addresses import Subnet
from octohooks_server.rules.outcome import succeeded
from octohooks_server.rules.signing import SigningKey, sign

_log = structlog.get_logger(__name__)

_HEAD = (
    b"%b%b%b"
    b"content-length: %d\r\n"
    b"webhook-id: %b\r\n"
    b"webhook-timestamp: %d\r\n"
    b"webhook-signature: %b\r\n"
    b"\r\n"
)
_NO_RESPONSE = Response(0, (), b"", False)


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
        self._clock = clock
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._same_lines = b"content-type: application/json\r\nuser-agent: %b\r\n" % (
            user_agent.encode()
        )
        subnets = tuple(allowed_subnets)
        tls = tls or default_tls()
        self._proxy = None
        if outbound_proxy is not None:
            self._proxy = ThroughProxy(
                outbound_proxy, resolver=resolver, allowed_subnets=subnets, tls=tls
            )
        self._pool = Pool(
            self._proxy or Direct(resolver=resolver, allowed_subnets=subnets, tls=tls),
            max_connections,
        )

    async def close(self) -> None:
        """Close the connections; what is under way comes to its end."""
        self._pool.close()

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
        deadline = self._loop.time() + self._timeout
        response = _NO_RESPONSE
        try:
            route, first_lines = await self._way_to(target_of(url), deadline)
            timestamp = int(started_at.timestamp())
            signature = sign(keys, message_id=message_id, timestamp=timestamp, body=body)
            head = _HEAD % (
                first_lines,
                self._same_lines,
                own_lines(headers),
                len(body),
                message_id.encode(),
                timestamp,
                signature.encode(),
            )
            connection = await self._pool.take(route, deadline=deadline)
            try:
                response = await connection.exchange(head, body, deadline=deadline)
            finally:
                self._pool.give_back(route, connection)
            failure = _judged(response.status)
        except TimeoutError:
            failure = timed_out(self._timeout)
        except ExchangeFailed as error:
            failure = error.failure
        except Exception as error:
            # Where it came from, without the text, which may hold what nobody should log.
            _log.error(
                "exchange_failed_unexpectedly",
                error=type(error).__qualname__,
                traceback="".join(traceback.format_tb(error.__traceback__)),
            )
            failure = PROTOCOL
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

    async def _way_to(self, target: Target, deadline: float) -> tuple[Route, bytes]:
        """The route to a target, and the first lines of a request that takes it."""
        if self._proxy is None:
            return target.route, target.first_lines
        async with asyncio.timeout_at(deadline):
            route = await self._proxy.route_to(target.url)
        if route.is_tls:
            return route, target.first_lines
        return route, first_lines_to_proxy(target.url, route, self._proxy.authorization)


@lru_cache(maxsize=1000)
def _judged(status: int) -> Failure:
    if succeeded(status):
        return NO_FAILURE
    if 300 <= status <= 399:
        return Failure(
            ErrorKind.ERROR_KIND_REDIRECT,
            f"The endpoint answered with the redirect {status}, which is not followed.",
        )
    return Failure(
        ErrorKind.ERROR_KIND_HTTP_STATUS, f"The endpoint answered with the status {status}."
    )
