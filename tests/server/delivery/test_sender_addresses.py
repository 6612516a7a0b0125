"""No connection is ever made to an address that is neither public nor allowed.

Each decoy listens where the attack aims and is asked, after the attempt, whether anybody connected.
"""

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks_server.delivery.exchange import Exchange

from tests.receivers import Decoy, Receiver, has_ipv6, respond
from tests.server.delivery.sending import Names, post, sending

BLOCKED = ErrorKind.ERROR_KIND_ADDRESS_BLOCKED


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


def blocked(exchange: Exchange) -> bool:
    return (exchange.status, exchange.error_kind) == (0, BLOCKED)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F.0x0.0.1",
        "017700000001",
        "0177.0.0.01",
        "0.0.0.0",
        "0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "\uff11\uff12\uff17.0.0.1",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\uff0e0\uff611",
    ],
)
async def test_no_spelling_of_loopback_is_connected_to(host: str) -> None:
    with Decoy() as decoy:
        async with sending(allowed="") as sender:
            assert blocked(await post(sender, f"http://{host}:{decoy.port}/"))
        assert not decoy.saw_a_connection()


@needs_ipv6
@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::0.0.0.1]"])
async def test_no_spelling_of_ipv6_loopback_is_connected_to(host: str) -> None:
    with Decoy("::1") as decoy:
        async with sending(allowed="") as sender:
            assert blocked(await post(sender, f"http://{host}:{decoy.port}/"))
        assert not decoy.saw_a_connection()


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::1]",
        "[2001:0:7f00:1::1]",
        "[2001:db8::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[ff02::1]",
        "[::ffff:169.254.169.254]",
    ],
)
async def test_no_other_address_inside_is_connected_to(host: str) -> None:
    async with sending(allowed="") as sender:
        assert blocked(await post(sender, f"http://{host}/latest/meta-data/"))


@pytest.mark.parametrize(
    "answer",
    [
        ("127.0.0.1",),
        ("::ffff:127.0.0.1",),
        ("169.254.169.254", "127.0.0.1", "10.0.0.1"),
        ("64:ff9b::7f00:1", "2002:7f00:1::", "127.0.0.1"),
        ("fd00:ec2::254",),
        ("::1", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_name_leads_inside(scheme: str, answer: tuple[str, ...]) -> None:
    with Decoy() as decoy:
        async with sending(allowed="", names=Names(inside_test=answer)) as sender:
            assert blocked(await post(sender, f"{scheme}://inside.test:{decoy.port}/"))
        assert not decoy.saw_a_connection()


@pytest.mark.parametrize("answer", ["fe80::1%lo", "127.0.0.1%lo", "localhost", "", "127.1"])
async def test_an_answer_that_is_no_plain_address_is_not_connected_to(answer: str) -> None:
    with Decoy() as decoy:
        async with sending(allowed="127.0.0.0/16", names=Names(odd_test=(answer,))) as sender:
            exchange = await post(sender, f"http://odd.test:{decoy.port}/")
        assert exchange.status == 0
        assert exchange.error_kind != ErrorKind.ERROR_KIND_UNSPECIFIED
        assert not decoy.saw_a_connection()


@needs_ipv6
async def test_of_a_name_with_mixed_addresses_only_those_outside_are_connected_to() -> None:
    with Decoy() as decoy:
        names = Names(mixed_test=("127.0.0.1", "::1"))
        async with (
            Receiver(host="::1", port=decoy.port) as receiver,
            sending(allowed="::1/128", names=names) as sender,
        ):
            exchange = await post(sender, receiver.url_of("mixed.test"))
        assert exchange.status == 200
        assert not decoy.saw_a_connection()


@needs_ipv6
async def test_a_name_that_changes_its_answer_is_judged_by_the_address_that_is_dialled() -> None:
    with Decoy() as decoy:
        names = Names(rebinding_test=[("::1",), ("127.0.0.1",)])
        close = respond(200, headers=[("connection", "close")])
        async with (
            Receiver(close, host="::1", port=decoy.port) as receiver,
            sending(allowed="::1/128", names=names) as sender,
        ):
            assert (await post(sender, receiver.url_of("rebinding.test"))).status == 200
            assert blocked(await post(sender, receiver.url_of("rebinding.test")))
        assert len(names.asked) == 2
        assert not decoy.saw_a_connection()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@127.0.0.1:{port}/",
        "http://example.com:80@127.0.0.1:{port}/",
        "http://example.com\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@example.com/",
        "http://127.0.0.1:{port}\\.example.com/",
        "http:127.0.0.1:{port}/",
        "http:///127.0.0.1:{port}/",
        "file://127.0.0.1:{port}/",
        "gopher://127.0.0.1:{port}/_POST",
        "http://example.com/ HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n",
    ],
)
async def test_a_url_that_was_stored_although_it_should_not_goes_nowhere(url: str) -> None:
    with Decoy() as decoy:
        async with sending() as sender:
            exchange = await post(sender, url.format(port=decoy.port))
        assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_PROTOCOL)
        assert not decoy.saw_a_connection()


async def test_a_redirect_does_not_lead_inside() -> None:
    with Decoy() as decoy:
        redirect = respond(307, headers=[("location", f"http://127.0.0.1:{decoy.port}/")])
        async with Receiver(redirect) as receiver, sending() as sender:
            exchange = await post(sender, receiver.url)
        assert exchange.error_kind == ErrorKind.ERROR_KIND_REDIRECT
        assert not decoy.saw_a_connection()


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Decoy() as decoy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{decoy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with Receiver() as receiver, sending() as sender:
            assert (await post(sender, receiver.url)).status == 200
        assert not decoy.saw_a_connection()


async def test_an_allowed_subnet_is_reached_and_its_neighbour_is_not() -> None:
    with Decoy() as decoy:
        async with Receiver() as receiver, sending(allowed="127.0.0.1/32") as sender:
            assert (await post(sender, receiver.url)).status == 200
            assert blocked(await post(sender, f"http://127.0.0.2:{decoy.port}/"))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1."])
async def test_an_allowed_address_is_reached_in_any_spelling(host: str) -> None:
    async with Receiver() as receiver, sending() as sender:
        exchange = await post(sender, receiver.url_of(host))
    assert exchange.status == 200
