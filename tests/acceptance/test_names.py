"""Host names lead where the name server says, and never to an address that must not be reached.

The servers here ask a name server of the test's own, and may send to 127.0.0.2 alone, which stands
for the public Internet; a decoy at 127.0.0.1, on the receiver's port, must see no connection.
"""

import sys
from collections.abc import Iterator
from itertools import cycle

import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import (
    ATTEMPT_OUTCOME_SUCCEEDED,
    ERROR_KIND_ADDRESS_BLOCKED,
    ERROR_KIND_NAME_NOT_RESOLVED,
    Attempt,
)

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempts
from tests.name_server import NameServer
from tests.receivers import Decoy, Receiver, has_ipv6, respond

OUTSIDE = "127.0.0.2"

_INSIDE = {
    "loopback": ["127.0.0.1"],
    "every-one-of-several": ["127.0.0.1", "10.0.0.1", "169.254.169.254", "127.0.0.3"],
    "this-network": ["0.0.0.0"],
    "private-a": ["10.0.0.1"],
    "private-b": ["172.16.0.1"],
    "private-c": ["192.168.0.1"],
    "carrier": ["100.64.0.1"],
    "link-local": ["169.254.0.1"],
    "multicast": ["224.0.0.1"],
    "reserved": ["240.0.0.1"],
    "broadcast": ["255.255.255.255"],
    "metadata-of-most": ["169.254.169.254"],
    "metadata-of-azure": ["168.63.129.16"],
    "metadata-of-alibaba": ["100.100.100.200"],
    "metadata-of-oracle": ["192.0.0.192"],
    "metadata-of-aws-6": ["fd00:ec2::254"],
    "metadata-of-google-6": ["fd20:ce::254"],
    "loopback-6": ["::1"],
    "loopback-of-both": ["::1", "127.0.0.1"],
    "unspecified-6": ["::"],
    "mapped": ["::ffff:127.0.0.1"],
    "mapped-metadata": ["::ffff:169.254.169.254"],
    "compatible": ["::127.0.0.1"],
    "nat64": ["64:ff9b::7f00:1"],
    "nat64-local": ["64:ff9b:1::7f00:1"],
    "6to4": ["2002:7f00:1::1"],
    "teredo": ["2001:0:7f00:1::1"],
    "documentation": ["2001:db8::1"],
    "link-local-6": ["fe80::1"],
    "unique-local": ["fc00::1"],
    "multicast-6": ["ff02::1"],
}

needs_outside = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have one loopback address of IPv4 alone"
)


@pytest.fixture
def decoy() -> Iterator[Decoy]:
    with Decoy() as decoy:
        yield decoy
        assert not decoy.saw_a_connection()


async def send(
    client: AsyncOctohooks, *urls: str, messages: int = 1, schedule: tuple[float, ...] = (0,)
) -> list[Attempt]:
    """Sends messages, one after the other, to endpoints at these URLs; their first attempts."""
    application = (await client.application.create()).id
    for url in urls:
        await client.endpoint.create(application, url=url, retry_schedule=schedule)
    attempts: list[Attempt] = []
    async with client.attempt.watch(application=application) as watch:
        await watch.wait_until_live()
        for _ in range(messages):
            await client.message.create(application, event_type="a.b", payload={})
            attempts += await next_attempts(watch, len(urls) * len(schedule))
    return attempts


async def test_no_name_leads_inside_whatever_its_address_looks_like(
    start_server: StartServer, decoy: Decoy
) -> None:
    """Each is a blocked attempt of its own error kind, without a status, and is retried."""
    names = {f"{name}.test": addresses for name, addresses in _INSIDE.items()}
    async with NameServer(names) as name_server:
        server = await start_server(
            allowed_subnets=f"{OUTSIDE}/32", nameservers=name_server.address
        )
        async with server.connect() as client:
            urls = [f"http://{name}:{decoy.port}/" for name in names]
            attempts = await send(client, *urls, schedule=(0, 0.01))
    assert {one.url for one in attempts} == set(urls)
    kinds = {(one.url, one.error_kind, one.response_status) for one in attempts}
    assert kinds == {(url, ERROR_KIND_ADDRESS_BLOCKED, 0) for url in urls}
    assert set(name_server.asked) == set(names)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_no_name_leads_to_the_loopback_of_ipv6(start_server: StartServer) -> None:
    with Decoy("::1") as decoy:
        async with NameServer({"*.test": ["::1"]}) as name_server:
            server = await start_server(
                allowed_subnets=f"{OUTSIDE}/32", nameservers=name_server.address
            )
            async with server.connect() as client:
                (attempt,) = await send(client, f"http://six.test:{decoy.port}/")
        assert attempt.error_kind == ERROR_KIND_ADDRESS_BLOCKED
        assert not decoy.saw_a_connection()


@needs_outside
async def test_of_a_name_with_addresses_inside_and_outside_only_those_outside_are_reached(
    start_server: StartServer, decoy: Decoy
) -> None:
    names = {
        "inside-first.test": ["127.0.0.1", OUTSIDE],
        "outside-first.test": [OUTSIDE, "127.0.0.1"],
        "among-many.test": ["127.0.0.1", "::1", "::ffff:127.0.0.1", OUTSIDE],
    }
    close = respond(200, headers=[("connection", "close")])
    async with (
        NameServer(names) as name_server,
        Receiver(close, host=OUTSIDE, port=decoy.port) as receiver,
    ):
        server = await start_server(
            allowed_subnets=f"{OUTSIDE}/32", nameservers=name_server.address
        )
        async with server.connect() as client:
            attempts = await send(client, *map(receiver.url_of, names), messages=5)
        assert len(receiver.requests) == len(attempts)
    assert {one.response_status for one in attempts} == {200}


@needs_outside
async def test_a_name_that_changes_its_address_is_judged_by_the_one_that_is_dialled(
    start_server: StartServer, decoy: Decoy
) -> None:
    """At one look-up it leads outside, at the next one inside, and so on, as rebinding does."""
    addresses = cycle([[OUTSIDE], ["127.0.0.1"]])
    close = respond(200, headers=[("connection", "close")])
    count = 20
    async with (
        NameServer({"rebinding.test": addresses.__next__}) as name_server,
        Receiver(close, host=OUTSIDE, port=decoy.port) as receiver,
    ):
        server = await start_server(
            allowed_subnets=f"{OUTSIDE}/32", nameservers=name_server.address
        )
        async with server.connect() as client:
            attempts = await send(client, receiver.url_of("rebinding.test"), messages=count)
        delivered = [one for one in attempts if one.outcome == ATTEMPT_OUTCOME_SUCCEEDED]
        blocked = [one for one in attempts if one.error_kind == ERROR_KIND_ADDRESS_BLOCKED]
        assert len(delivered) == len(receiver.requests) > 0
    assert len(blocked) == count - len(delivered) > 0
    assert {one.response_status for one in blocked} == {0}


async def test_names_that_do_not_exist_or_hang_are_attempts_that_could_not_be_resolved(
    start_server: StartServer,
) -> None:
    """Those that hang are given up by the look-up's own time limit, before the exchange's."""
    async with NameServer({"missing.test": []}) as name_server:
        server = await start_server(nameservers=name_server.address)
        async with server.connect() as client:
            attempts = await send(client, "http://missing.test/", "http://hangs.test/")
    assert {one.error_kind for one in attempts} == {ERROR_KIND_NAME_NOT_RESOLVED}
    assert {one.response_status for one in attempts} == {0}


async def test_other_name_servers_are_asked_when_one_is_away(start_server: StartServer) -> None:
    async with NameServer({"*.test": ["127.0.0.1"]}) as gone:
        pass
    async with NameServer({"*.test": ["127.0.0.1"]}) as name_server, Receiver() as receiver:
        server = await start_server(nameservers=f"{gone.address}, {name_server.address}")
        async with server.connect() as client:
            (attempt,) = await send(client, receiver.url_of("ok.test"))
    assert attempt.response_status == 200
