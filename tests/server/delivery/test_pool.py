"""Connections are kept for a while, and for no one else."""

import asyncio

import pytest
from octohooks_server.delivery import pool, sockets
from octohooks_server.delivery.connection import Connection as Connected
from octohooks_server.delivery.dialling import Route
from octohooks_server.delivery.pool import Pool

from tests.receivers import Connection, Receiver, respond, send_and_close
from tests.server.delivery.sending import Names, post, sending


async def test_a_connection_that_nobody_uses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_KEPT_SECONDS", 0.01)
    async with Receiver() as receiver, sending() as sender:
        assert (await post(sender, receiver.url)).status == 200
        await receiver.wait_for_ended_connections(1)
        assert (await post(sender, receiver.url)).status == 200
        await receiver.wait_for_ended_connections(2)


async def test_no_more_connections_are_kept_than_may_be_in_use() -> None:
    async with (
        Receiver() as first,
        Receiver() as second,
        Receiver() as third,
        sending(max_connections=2) as sender,
    ):
        for receiver in (first, second, third):
            assert (await post(sender, receiver.url)).status == 200
        await first.wait_for_ended_connections(1)
        for receiver in (second, third):
            assert (await post(sender, receiver.url)).status == 200
        assert [one.connections for one in (first, second, third)] == [1, 1, 1]


async def test_a_connection_that_the_receiver_closed_is_not_used_again() -> None:
    closing = send_and_close(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    async with Receiver(closing) as receiver, sending() as sender:
        for number in range(1, 4):
            assert (await post(sender, receiver.url)).status == 200
            # The end of it is in the kernel now, and the transport need not know of it yet.
            await receiver.wait_for_ended_connections(number)
        assert receiver.connections == 3


async def test_as_many_connections_are_made_as_there_are_exchanges_at_once() -> None:
    came = asyncio.Barrier(3)

    async def together(connection: Connection) -> None:
        await came.wait()
        await respond()(connection)

    async with Receiver(together) as receiver, sending() as sender:
        for _ in range(2):
            exchanges = await asyncio.gather(*(post(sender, receiver.url) for _ in range(3)))
            assert [one.status for one in exchanges] == [200] * 3
        assert receiver.connections == 3


class Dialler:
    """Makes connections to nowhere."""

    async def dial(self, route: Route, *, deadline: float) -> Connected:
        return Connected()


async def test_who_finds_no_place_waits_for_one_until_the_deadline() -> None:
    waiting = Pool(Dialler(), max_connections=1)
    route = Route(False, "receiver.test", 80)
    now = asyncio.get_running_loop().time()
    taken = await waiting.take(route, deadline=now + 50)
    with pytest.raises(TimeoutError):
        await waiting.take(route, deadline=now + 0.01)
    late = asyncio.create_task(waiting.take(route, deadline=now + 50))
    waiting.give_back(route, taken)
    assert await late is not taken


async def test_closing_the_sender_closes_what_is_kept() -> None:
    async with Receiver() as receiver:
        async with sending() as sender:
            assert (await post(sender, receiver.url)).status == 200
        await receiver.wait_for_ended_connections(1)


async def test_addresses_of_both_families_are_tried_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a name with many addresses is reached where one of the families does not work."""
    tried: list[str] = []

    async def refuse(address: str, *_: object) -> object:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(sockets, "_connect", refuse)
    with pytest.raises(ConnectionRefusedError):
        await sockets.connect_to_first(["::1", "::2", "::3", "127.0.0.1", "127.0.0.2"], 80, ())
    assert tried == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


async def test_an_address_that_hangs_does_not_hold_up_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = sockets._connect
    hanging = asyncio.Event()
    given_up = asyncio.Event()

    async def hang_at_the_first(address: str, *rest: object) -> object:
        if address != "127.0.0.2":
            return await connect(address, *rest)  # type: ignore[arg-type]
        hanging.set()
        try:
            return await asyncio.Event().wait()
        finally:
            given_up.set()

    monkeypatch.setattr(sockets, "_connect", hang_at_the_first)
    async with Receiver() as receiver:
        names = Names(receiver_test=("127.0.0.2", "127.0.0.1"))
        async with sending(names=names) as sender:
            exchange = await post(sender, receiver.url_of("receiver.test"))
            assert hanging.is_set()
            await given_up.wait()
    assert exchange.status == 200
