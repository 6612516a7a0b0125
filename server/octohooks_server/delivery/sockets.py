"""Sockets that are connected to addresses, and to none that is not allowed."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from itertools import chain, zip_longest

from octohooks_server.rules.addresses import Subnet, is_allowed

# What the kernel may hand over at once, and so what a receiver can make the process hold.
_RECEIVE_BUFFER_BYTES = 32 * 1024
# How long an address may hang before the next one is tried beside it (RFC 8305, section 5).
_SECONDS_BETWEEN_ADDRESSES = 0.25


class AddressBlocked(OSError):
    """The address is neither public nor allowed."""


async def connect_to_first(
    addresses: Sequence[str], port: int, allowed_subnets: Sequence[Subnet] | None
) -> socket.socket:
    """A socket that is connected to the first address that takes it.

    The addresses are tried in turn, IPv6 and IPv4 ones alternating (RFC 8305); one that hangs does
    not hold up the next. Where `allowed_subnets` is None no address is checked, which is for the
    outbound proxy alone.

    Raises:
        AddressBlocked: no address may be connected to.
        OSError: none could be connected to; the error of the last one that was tried.
    """
    if len(addresses) == 1:
        return await _connect(addresses[0], port, allowed_subnets)
    failed: list[OSError] = []
    pending: set[asyncio.Task[socket.socket]] = set()
    left = _alternating(addresses)
    try:
        while left or pending:
            if left:
                address = left.pop(0)
                pending.add(asyncio.create_task(_connect(address, port, allowed_subnets)))
            done, pending = await asyncio.wait(
                pending,
                timeout=_SECONDS_BETWEEN_ADDRESSES if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            made = [task.result() for task in done if _has_connected(task, failed)]
            for surplus in made[1:]:
                surplus.close()
            if made:
                return made[0]
    finally:
        for task in pending:
            task.add_done_callback(_close_late)
            task.cancel()
    dialled = [error for error in failed if not isinstance(error, AddressBlocked)]
    raise dialled[-1] if dialled else AddressBlocked


def _alternating(addresses: Sequence[str]) -> list[str]:
    """Both families in turn, beginning with that of the first; each in its order."""
    first = [one for one in addresses if (":" in one) == (":" in addresses[0])]
    second = [one for one in addresses if one not in first]
    return [one for one in chain.from_iterable(zip_longest(first, second)) if one is not None]


def _has_connected(task: asyncio.Task[socket.socket], failed: list[OSError]) -> bool:
    error = task.exception()
    if error is None:
        return True
    if not isinstance(error, OSError):
        raise error
    failed.append(error)
    return False


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(
    address: str, port: int, allowed_subnets: Sequence[Subnet] | None
) -> socket.socket:
    """The one choke point: what is checked is the very address that is dialled."""
    if allowed_subnets is not None and not is_allowed(address, allowed_subnets):
        raise AddressBlocked
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made
