"""Which addresses a webhook may be sent to: public ones, and what the operator allows.

What does not parse is not allowed.
"""

import re
import unicodedata
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Subnet: TypeAlias = IPv4Network | IPv6Network

NOT_PUBLIC_IPV4 = tuple(
    IPv4Network(subnet)
    for subnet in (
        # The IANA IPv4 Special-Purpose Address Registry.
        "0.0.0.0/8",  # RFC 791: this network
        "10.0.0.0/8",  # RFC 1918: private use
        "100.64.0.0/10",  # RFC 6598: shared by carriers; holds 100.100.100.200, Alibaba's metadata
        "127.0.0.0/8",  # RFC 1122: loopback
        "169.254.0.0/16",  # RFC 3927: link-local; holds 169.254.169.254, the clouds' metadata
        "172.16.0.0/12",  # RFC 1918: private use
        "192.0.0.0/24",  # RFC 6890: protocol assignments; holds 192.0.0.192, Oracle's metadata
        "192.0.2.0/24",  # RFC 5737: documentation
        "192.31.196.0/24",  # RFC 7535: AS112
        "192.52.193.0/24",  # RFC 7450: multicast tunnels
        "192.88.99.0/24",  # RFC 7526: relays of 6to4, withdrawn
        "192.168.0.0/16",  # RFC 1918: private use
        "192.175.48.0/24",  # RFC 7534: AS112
        "198.18.0.0/15",  # RFC 2544: benchmarks
        "198.51.100.0/24",  # RFC 5737: documentation
        "203.0.113.0/24",  # RFC 5737: documentation
        "240.0.0.0/4",  # RFC 1112: reserved; holds 255.255.255.255, broadcast (RFC 8190)
        # The IANA IPv4 Multicast Address Space Registry.
        "224.0.0.0/4",  # RFC 5771
        # Public by its number, and answered inside Azure by the host of the virtual machine.
        "168.63.129.16/32",
    )
)

PUBLIC_IPV6 = IPv6Network("2000::/3")
"""RFC 4291: the only space that global unicast addresses are given from. Outside it lie loopback,
link-local, unique local (with the metadata addresses of AWS and Google), multicast, NAT64
(64:ff9b::/96, 64:ff9b:1::/48) and the addresses that hold an IPv4 one."""

NOT_PUBLIC_IPV6 = tuple(
    IPv6Network(subnet)
    for subnet in (
        # The IANA IPv6 Special-Purpose Address Registry, as far as it lies in 2000::/3.
        "2001::/23",  # RFC 2928: protocol assignments; holds Teredo (RFC 4380), ORCHID and others
        "2001:db8::/32",  # RFC 3849: documentation
        "2002::/16",  # RFC 3056: 6to4, which holds an IPv4 address
        "3fff::/20",  # RFC 9637: documentation
    )
)

_IPV4_PART = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_DECIMAL_DIGITS_OF_32_BITS = 10
# Full stops of other scripts, which IDNA takes for the one of ASCII (RFC 3490, section 3.1).
_FULL_STOPS = str.maketrans("\u3002\uff0e\uff61", "...")


def is_allowed(address: str | Address, allowed_subnets: Iterable[Subnet] = ()) -> bool:
    """Whether a connection may be made to `address`: it is public, or in an allowed subnet.

    An IPv4 address inside an IPv6 one (`::ffff:0:0/96`) is judged by itself. An address with a
    scope (`fe80::1%eth0`) is never allowed.
    """
    try:
        address = ip_address(address)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        address = address.ipv4_mapped or address
    return any(address in subnet for subnet in allowed_subnets) or _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in subnet for subnet in NOT_PUBLIC_IPV4)
    return address in PUBLIC_IPV6 and not any(address in subnet for subnet in NOT_PUBLIC_IPV6)


def parse_subnets(text: str) -> tuple[Subnet, ...]:
    """The subnets in a comma-separated list; a single address stands for itself.

    ValueError with a sentence that names the first wrong one.
    """
    subnets: list[Subnet] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            subnet = ip_network(part)
        except ValueError:
            raise ValueError(
                f"{part!r} is not a subnet such as 10.0.0.0/8 or fd00::/8, with no bit set behind "
                "its length."
            ) from None
        if isinstance(subnet, IPv6Network) and subnet.network_address.ipv4_mapped is not None:
            raise ValueError(f"{part!r} is an IPv4 subnet in IPv6 form; write it as IPv4.")
        subnets.append(subnet)
    return tuple(subnets)


def literal_address(host: str) -> Address | None:
    """The address that `host` spells, in any form that resolvers and browsers read as one.

    That is IPv6 with or without brackets, and IPv4 with one to four parts in decimal, octal (`0`)
    or hexadecimal (`0x`), the last part filling the rest (`127.1`, `0x7f000001`, `017700000001`),
    with a dot at the end, and in characters that normalise to these. None when it is a name.
    """
    host = unicodedata.normalize("NFKC", host.translate(_FULL_STOPS)).translate(_FULL_STOPS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError:
            return None
    return _ipv4_of_parts(host.removesuffix(".").split("."))


def _ipv4_of_parts(parts: list[str]) -> IPv4Address | None:
    """As `inet_aton` reads them."""
    numbers: list[int] = []
    for part in parts:
        number = _number(part)
        if number is None:
            return None
        numbers.append(number)
    *leading, last = numbers
    if len(leading) > 3 or any(number > 255 for number in leading):
        return None
    bits_of_last = 32 - 8 * len(leading)
    if last >> bits_of_last:
        return None
    value = last
    for position, number in enumerate(leading):
        value |= number << (24 - 8 * position)
    return IPv4Address(value)


def _number(part: str) -> int | None:
    if not _IPV4_PART.fullmatch(part):
        return None
    # Leading zeros can make a part long without making it large.
    if part[:2] in ("0x", "0X"):
        digits, base = part[2:].lstrip("0"), 16
    elif part.startswith("0"):
        digits, base = part.lstrip("0"), 8
    else:
        digits, base = part, 10
    if len(digits) > _DECIMAL_DIGITS_OF_32_BITS + 1:
        return None
    try:
        return int(digits or "0", base)
    except ValueError:
        return None
