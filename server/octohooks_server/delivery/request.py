"""The bytes of a request: what is the same for every message of an endpoint is made once."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from octohooks_server.delivery.dialling import Route, authority
from octohooks_server.delivery.failures import URL_REFUSED, ExchangeFailed
from octohooks_server.rules.endpoint_headers import header_problem
from octohooks_server.rules.urls import EndpointUrl, parse_url

# Sent unless the endpoint has headers of its own by these names. Nothing is decompressed, so
# nothing compressed is asked for.
_DEFAULTS = {b"accept": b"accept: */*\r\n", b"accept-encoding": b"accept-encoding: identity\r\n"}
_DEFAULT_LINES = b"".join(_DEFAULTS.values())


class Target(NamedTuple):
    """An endpoint's URL as requests need it."""

    url: EndpointUrl
    route: Route
    """The way straight to it."""
    first_lines: bytes
    """Request line and `host`."""


@lru_cache(maxsize=4096)
def target_of(url: str) -> Target:
    """What a URL that can be posted to stands for; else ExchangeFailed."""
    try:
        parsed = parse_url(url)
    except ValueError:
        raise ExchangeFailed(URL_REFUSED) from None
    return Target(
        url=parsed,
        route=Route(parsed.scheme == "https", parsed.host, parsed.port),
        first_lines=b"POST %b HTTP/1.1\r\nhost: %b\r\n"
        % (parsed.target.encode(), parsed.host_header.encode()),
    )


def first_lines_to_proxy(url: EndpointUrl, route: Route, authorization: bytes) -> bytes:
    """Those of a request that the outbound proxy is to pass on, to an address, by plain HTTP."""
    return b"POST http://%b%b HTTP/1.1\r\nhost: %b\r\n%b" % (
        authority(route.proxied_to or route.host, route.port),
        url.target.encode(),
        url.host_header.encode(),
        authorization,
    )


def own_lines(headers: Mapping[str, str]) -> bytes:
    """The lines of an endpoint's own headers, and of those that it could have replaced."""
    if not headers:
        return _DEFAULT_LINES
    lines = dict(_DEFAULTS)
    for name, value in headers.items():
        # Refused when the endpoint was written; this is the last line of defence.
        if header_problem(name, value) is None:
            lines[name.lower().encode()] = f"{name}: {value}\r\n".encode(errors="replace")
    return b"".join(lines.values())
