"""Name look-up, against a name server that tests decide."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks_server.delivery.resolver import NameNotResolved, SystemResolver

from tests.name_server import NameServer
from tests.receivers import Receiver
from tests.server.delivery.sending import SHORT, post, sending

PATIENT = timedelta(seconds=50)

NAMES = {
    "ok*.test": ["127.0.0.1"],
    "many.test": [*(f"127.0.0.{n}" for n in range(1, 30)), *(f"::{n:x}" for n in range(1, 30))],
    "none.test": [],
}


@asynccontextmanager
async def resolving(
    *, timeout: timedelta = PATIENT, max_lookups: int = 256
) -> AsyncIterator[tuple[SystemResolver, NameServer]]:
    """A resolver that asks a name server of its own, to which `hangs*.test` are unknown."""
    async with NameServer(NAMES) as server:
        resolver = SystemResolver(
            timeout=timeout, max_lookups=max_lookups, nameservers=[server.address]
        )
        try:
            yield resolver, server
        finally:
            await resolver.close()


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


async def test_a_name_that_takes_long_is_waited_for_although_others_are_found_at_once() -> None:
    """Both of its questions are asked again and again, until an answer comes."""
    async with resolving() as (resolver, server):
        for number in range(10):
            await resolver.addresses(f"ok{number}.test")
        server.losses = 2 * 3
        assert list(await resolver.addresses("ok-at-last.test")) == ["127.0.0.1"]


async def test_forty_names_that_hang_do_not_hold_up_another() -> None:
    async with resolving() as (resolver, server):
        hanging = [
            asyncio.create_task(resolver.addresses(f"hangs{number}.test")) for number in range(40)
        ]
        await server.next_look_up()
        for number in range(5):
            assert list(await resolver.addresses(f"ok{number}.test")) == ["127.0.0.1"]
        assert not any(task.done() for task in hanging)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_name_is_asked_for_once_however_many_wait_for_it() -> None:
    async with resolving() as (resolver, server):
        server.hold_back()
        waiting = [asyncio.create_task(resolver.addresses("ok.test")) for _ in range(50)]
        await server.next_look_up()
        # One that gives up takes the answer from nobody.
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        server.let_go()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [["127.0.0.1"]] * 49
    assert server.asked == ["ok.test"]


async def test_waiting_for_a_place_counts_in_the_timeout() -> None:
    async with resolving(timeout=SHORT, max_lookups=1) as (resolver, server):
        names = [f"hangs{number}.test" for number in range(5)]
        results = await asyncio.gather(
            *(resolver.addresses(name) for name in names), return_exceptions=True
        )
        assert all(isinstance(result, NameNotResolved) for result in results)
        # Had each its own time from when its place was free, all would have been asked for in turn.
        assert names[-1] not in server.asked
        # The place is free again, and at last an answer is quicker than the timeout.
        while True:
            with suppress(NameNotResolved):
                assert list(await resolver.addresses("ok.test")) == ["127.0.0.1"]
                break


async def test_a_resolver_that_is_closed_leaves_nobody_waiting() -> None:
    async with resolving() as (resolver, server):
        hanging = asyncio.create_task(resolver.addresses("hangs.test"))
        await server.next_look_up()
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
