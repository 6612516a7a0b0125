"""Name look-up in a bounded place of its own, so that names that hang hold up no others."""

import asyncio
import socket
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import aiodns

# A name may have any number of addresses; no more than these are tried.
_MAX_ADDRESSES_PER_FAMILY = 4
_TRIES = 5


class NameNotResolved(OSError):
    """The name has no address, or no answer came."""


class Resolver(Protocol):
    """Looks up the addresses of a host name."""

    async def addresses(self, name: str) -> Sequence[str]:
        """IPv4 and IPv6 addresses in the order to try them, at least one, or NameNotResolved."""
        ...

    async def close(self) -> None:
        """Give up what is being looked up; whoever waits for it gets NameNotResolved."""
        ...


class SystemResolver:
    """Asks name servers, the system's unless told, and its hosts file, without a thread per name.

    Answers are kept as long as their time to live says. A name that is being looked up is asked for
    once, however many wait for it, so a name that hangs takes one place; the time that is spent
    waiting for a place counts in the timeout.
    """

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(seconds=5),
        max_lookups: int = 256,
        nameservers: Sequence[str] = (),
    ) -> None:
        """Make it inside a running event loop. `nameservers` are `address` or `address:port`, an
        IPv6 address with a port in brackets; the system's where there are none."""
        self._timeout = timeout.total_seconds()
        self._places = asyncio.Semaphore(max_lookups)
        # c-ares waits a quarter of a second at first for a server that else answers quickly, and
        # twice as long each time. With two tries it would give up a name within a second that the
        # server is still looking for; so many fill the timeout.
        self._resolver = aiodns.DNSResolver(
            nameservers or None, timeout=self._timeout / 3, tries=_TRIES
        )
        self._under_way: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def addresses(self, name: str) -> Sequence[str]:
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.create_task(self._look_up(name))
            self._under_way[name] = task
            task.add_done_callback(lambda done: self._ended(name, done))
        try:
            # Whoever waits may be cancelled; the others still want the answer.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and caller is not None and not caller.cancelling():
                raise NameNotResolved("the resolver was closed") from None
            raise

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._resolver.close()

    def _ended(self, name: str, task: asyncio.Task[Sequence[str]]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            # Fetched, so that a failure that nobody waits for any more is not reported as lost.
            task.exception()

    async def _look_up(self, name: str) -> Sequence[str]:
        try:
            async with asyncio.timeout(self._timeout), self._places:
                result = await self._resolver.getaddrinfo(
                    name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM
                )
        except (aiodns.error.DNSError, TimeoutError) as error:
            raise NameNotResolved(f"no address for {name}") from error
        found: dict[int, list[str]] = {socket.AF_INET6: [], socket.AF_INET: []}
        ordered: list[str] = []
        for node in result.nodes:
            address = node.addr[0].decode("ascii")
            of_family = found.get(node.family)
            if of_family is None or len(of_family) == _MAX_ADDRESSES_PER_FAMILY:
                continue
            of_family.append(address)
            ordered.append(address)
        if not ordered:
            raise NameNotResolved(f"no address for {name}")
        return ordered
