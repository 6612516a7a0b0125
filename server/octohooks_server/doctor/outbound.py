"""What a server reaches: where webhooks may go, name servers, the proxy, another clock."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

import aiodns
import aiohttp

from octohooks_server.doctor.database import judge_clock
from octohooks_server.doctor.findings import SECONDS, Finding, ok, problem, warning
from octohooks_server.rules.addresses import Subnet
from octohooks_server.settings import Settings

# Of the server's own machine and its nearest: whoever may create endpoints could reach these.
_NEAREST_IPV4 = [IPv4Network("127.0.0.0/8"), IPv4Network("169.254.0.0/16")]
_NEAREST_IPV6 = [IPv6Network("::1/128"), IPv6Network("fe80::/10")]
# A name that nobody has (RFC 6761), so that a name server need ask no other.
_NO_NAME = "octohooks.invalid"
# A server that says that there is no such name has answered.
_ANSWERED = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA})


def look_at_rules(settings: Settings) -> Iterator[Finding]:
    """Where webhooks may go."""
    if not settings.allowed_subnets:
        yield ok("outbound", "Webhooks go to public addresses only.")
        return
    near = [one for one in settings.allowed_subnets if _is_near(one)]
    if near:
        yield warning(
            "outbound",
            f"OCTOHOOKS_ALLOWED_SUBNETS lets webhooks go to {_listed(near)}: whoever may create"
            " endpoints can reach what listens on this machine, or its cloud's metadata. Allow less"
            " unless this machine is for trials.",
        )
    else:
        yield ok(
            "outbound",
            f"Webhooks go to public addresses and to {_listed(settings.allowed_subnets)}.",
        )


async def look_at_names(settings: Settings) -> AsyncIterator[Finding]:
    """Whether name servers answer."""
    for one in settings.nameservers or (None,):
        who = one or "The system's name server"
        resolver = aiodns.DNSResolver([one] if one else None, timeout=SECONDS / 2, tries=2)
        try:
            await resolver.query_dns(_NO_NAME, "A")
            answered = True
        except aiodns.error.DNSError as error:
            answered = error.args[0] in _ANSWERED
        finally:
            await resolver.close()
        if answered:
            yield ok("names", f"{who} answers.")
        else:
            yield problem(
                "names",
                f"{who} does not answer, so webhooks to names fail; correct"
                f" {'OCTOHOOKS_NAMESERVERS' if one else '/etc/resolv.conf'}, or let this machine"
                " ask it.",
            )


async def look_at_proxy(settings: Settings) -> Finding | None:
    """Whether the outbound proxy takes connections; None where there is none."""
    if settings.outbound_proxy is None:
        return None
    parts = urlsplit(settings.outbound_proxy)
    # The URL may hold a password.
    place = f"{parts.hostname}:{parts.port}"
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError) as error:
        return problem(
            "proxy",
            f"OCTOHOOKS_OUTBOUND_PROXY is at {place}, which takes no connection"
            f" ({_reason(error)}), so every webhook fails; start it, or correct the setting.",
        )
    writer.close()
    return ok("proxy", f"{place} takes connections.")


async def compare_clock(url: str) -> Finding:
    """This machine's clock against the `Date` of what a URL answers."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as http,
            http.head(url, allow_redirects=False) as response,
        ):
            theirs = parsedate_to_datetime(response.headers["Date"]).replace(tzinfo=UTC)
    except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
        return warning("clock", f"{url} tells no time ({_reason(error)}); name another URL.")
    # A date is of the second that it was made in.
    return judge_clock(theirs - datetime.now(UTC).replace(microsecond=0), urlsplit(url).netloc)


def _is_near(subnet: Subnet) -> bool:
    if isinstance(subnet, IPv4Network):
        return any(subnet.overlaps(one) for one in _NEAREST_IPV4)
    return any(subnet.overlaps(one) for one in _NEAREST_IPV6)


def _listed(subnets: Sequence[Subnet]) -> str:
    return ", ".join(map(str, subnets))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
