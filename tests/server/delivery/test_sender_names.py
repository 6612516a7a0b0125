"""Name look-up, against a name server that tests decide."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks_server.delivery.resolver import NameNotResolved, SystemResolver

from tests.receivers import Receiver
from tests.server.delivery.sending import SHORT, post, sending

PATIENT = timedelta(seconds=50)
A, AAAA = 1, 28


class NameServer(asyncio.DatagramProtocol):
    """Knows `ok*.test`, `late*.test`, `many*.test` and `none*.test`, and no answer for others.

    Those for `late*.test` are held back until they are let go.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.asked_for_any = asyncio.Event()
        self.port = 0
        self._held_back: list[tuple[bytes, tuple[str, int]]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        position, labels = 12, []
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode())
            position += 1 + length
        name = ".".join(labels)
        (kind,) = struct.unpack(">H", data[position + 1 : position + 3])
        if kind == A:
            self.asked.append(name)
            self.asked_for_any.set()
        answers = self._answers(name, kind)
        if answers is None:
            return
        missing = 3 if name.startswith("none") else 0
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | missing, 1, len(answers), 0, 0)
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(address)) + address
            for address in answers
        )
        self._held_back.append((head + data[12 : position + 5] + records, sender))
        if not name.startswith("late"):
            self.let_go()

    def let_go(self) -> None:
        assert self._transport is not None
        for answer, sender in self._held_back:
            self._transport.sendto(answer, sender)
        self._held_back.clear()

    def _answers(self, name: str, kind: int) -> list[bytes] | None:
        if name.startswith("none"):
            return []
        if name.startswith(("ok", "late")):
            return [socket.inet_aton("127.0.0.1")] if kind == A else []
        if name.startswith("many"):
            if kind == A:
                return [bytes([127, 0, 0, number]) for number in range(1, 30)]
            return [bytes(15) + bytes([number]) for number in range(1, 30)]
        return None


@asynccontextmanager
async def resolving(
    *, timeout: timedelta = PATIENT, max_lookups: int = 256
) -> AsyncIterator[tuple[SystemResolver, NameServer]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    resolver = SystemResolver(
        timeout=timeout, max_lookups=max_lookups, nameservers=[f"127.0.0.1:{server.port}"]
    )
    try:
        yield resolver, server
    finally:
        await resolver.close()
        transport.close()


async def test_a_name_is_resolved_to_its_addresses() -> None:
    async with resolving() as (resolver, _):
        assert list(await resolver.addresses("ok.test")) == ["127.0.0.1"]


async def test_a_name_that_does_not_exist_has_no_address() -> None:
    async with resolving() as (resolver, _):
        with pytest.raises(NameNotResolved):
            await resolver.addresses("none.test")


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test"])
async def test_what_cannot_be_a_name_has_no_address(name: str) -> None:
    async with resolving() as (resolver, _):
        with pytest.raises(NameNotResolved):
            await resolver.addresses(name)


async def test_of_many_addresses_a_few_of_each_family_are_taken() -> None:
    async with resolving() as (resolver, _):
        addresses = await resolver.addresses("many.test")
    assert len(addresses) == 8
    assert sum(":" in address for address in addresses) == 4


async def test_a_name_that_hangs_is_given_up() -> None:
    async with resolving(timeout=SHORT) as (resolver, _):
        with pytest.raises(NameNotResolved):
            await resolver.addresses("hangs.test")


async def test_forty_names_that_hang_do_not_hold_up_another() -> None:
    async with resolving() as (resolver, server):
        hanging = [
            asyncio.create_task(resolver.addresses(f"hangs{number}.test")) for number in range(40)
        ]
        await server.asked_for_any.wait()
        for number in range(5):
            assert list(await resolver.addresses(f"ok{number}.test")) == ["127.0.0.1"]
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_name_is_asked_for_once_however_many_wait_for_it() -> None:
    async with resolving() as (resolver, server):
        waiting = [asyncio.create_task(resolver.addresses("late.test")) for _ in range(50)]
        await server.asked_for_any.wait()
        # One that gives up takes the answer from nobody.
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        server.let_go()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [["127.0.0.1"]] * 49
    assert server.asked == ["late.test"]


async def test_waiting_for_a_place_counts_in_the_timeout() -> None:
    async with resolving(timeout=SHORT, max_lookups=1) as (resolver, server):
        names = [f"hangs{number}.test" for number in range(5)]
        results = await asyncio.gather(
            *(resolver.addresses(name) for name in names), return_exceptions=True
        )
        assert all(isinstance(result, NameNotResolved) for result in results)
        # Had each its own time from when its place was free, all would have been asked for in turn.
        assert names[-1] not in server.asked
        # The place is free again.
        assert list(await resolver.addresses("ok.test")) == ["127.0.0.1"]


async def test_a_resolver_that_is_closed_leaves_nobody_waiting() -> None:
    async with resolving() as (resolver, server):
        hanging = asyncio.create_task(resolver.addresses("hangs.test"))
        await server.asked_for_any.wait()
    with pytest.raises(NameNotResolved):
        await hanging


async def test_a_message_is_sent_to_a_name_that_the_name_server_knows() -> None:
    async with (
        resolving() as (resolver, _),
        Receiver() as receiver,
        sending(names=resolver) as sender,
    ):
        exchange = await post(sender, receiver.url_of("ok.test"))
        request = await receiver.next_request()
    assert exchange.status == 200
    assert request.header("host") == f"ok.test:{receiver.port}"


async def test_a_name_that_hangs_past_the_exchanges_timeout_is_a_timeout() -> None:
    async with resolving() as (resolver, _), sending(names=resolver, timeout=SHORT) as sender:
        exchange = await post(sender, "http://hangs.test/")
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TIMEOUT)
