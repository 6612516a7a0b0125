import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.addresses import is_allowed, literal_address, parse_subnets


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.31.196.0", "192.31.196.255"),
        ("192.52.193.0", "192.52.193.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("192.175.48.0", "192.175.48.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "255.255.255.255"),
        ("168.63.129.16", "168.63.129.16"),
    ],
)
def test_every_special_ipv4_range_is_blocked_and_its_neighbours_are_not(
    first: str, last: str
) -> None:
    assert not is_allowed(first)
    assert not is_allowed(last)
    assert not is_allowed(f"::ffff:{first}")
    for neighbour in (int(IPv4Address(first)) - 1, int(IPv4Address(last)) + 1):
        if 0 <= neighbour < 1 << 32:
            assert is_allowed(str(IPv4Address(neighbour)))
            assert is_allowed(f"::ffff:{IPv4Address(neighbour)}")


@pytest.mark.parametrize(
    "address",
    [
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "::ffff:169.254.169.254",
        "64:ff9b::8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "1fff:ffff::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_ipv6_outside_the_public_space_is_blocked(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "2001:200::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2600::1",
        "3ffe::1",
        "3fff:1000::1",
    ],
)
def test_public_ipv6_is_allowed(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "127.1",
        "010.8.8.8",
        "8.8.8.8 ",
        "8.8.8.8:80",
        "8.8.8.8/32",
        "2001:4860::8888%eth0",
        "[2600::1]",
        "2600::1::",
        "8.8.8",
    ],
)
def test_what_is_not_an_address_is_blocked(text: str) -> None:
    assert not is_allowed(text)


@given(st.integers(0, (1 << 32) - 1).map(IPv4Address))
def test_an_ipv4_address_that_is_allowed_is_global_by_the_standard_library_too(
    address: IPv4Address,
) -> None:
    if is_allowed(address):
        assert address.is_global
        assert not address.is_multicast


@given(
    st.integers(0, (1 << 128) - 1).map(IPv6Address)
    | st.integers(0, (1 << 125) - 1).map(lambda low: IPv6Address((1 << 125) + low))
)
def test_an_ipv6_address_that_is_allowed_is_global_by_the_standard_library_too(
    address: IPv6Address,
) -> None:
    if is_allowed(address):
        assert (address.ipv4_mapped or address).is_global
        assert address.ipv4_mapped is not None or int(address) >> 125 == 1


def test_an_operator_can_allow_a_subnet_and_nothing_beside_it() -> None:
    allowed = parse_subnets("127.0.0.0/8, fd00::/8")
    assert is_allowed("127.0.0.1", allowed)
    assert is_allowed("::ffff:127.0.0.1", allowed)
    assert is_allowed("fd00:1::1", allowed)
    assert not is_allowed("::1", allowed)
    assert not is_allowed("10.0.0.1", allowed)
    assert is_allowed("8.8.8.8", allowed)
    assert not is_allowed("fd00::1%eth0", allowed)


def test_subnets_are_read_from_a_list() -> None:
    assert parse_subnets("10.0.0.0/8,, ::1 ,192.168.1.7") == (
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
        ip_network("192.168.1.7/32"),
    )
    assert parse_subnets("") == ()


@pytest.mark.parametrize(
    "text", ["10.0.0.1/8", "10.0.0.0/33", "lan", "::ffff:10.0.0.0/104", "10.0.0.0-10.0.0.9"]
)
def test_a_wrong_subnet_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_subnets(f"127.0.0.0/8,{text}")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F.0.0.1",
        "017700000001",
        "0177.0.0.01",
        "127.0.0.1.",
        "127.0x000000000001",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\uff0e0\uff611",
        "\u2460\u2461\u2466.0.0.1",
        "\U0001d7cf\U0001d7d0\U0001d7d5.1",
    ],
)
def test_an_address_is_recognised_in_every_spelling(host: str) -> None:
    assert literal_address(host) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize("host", ["::1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::0.0.0.1]"])
def test_an_ipv6_address_is_recognised_with_and_without_brackets(host: str) -> None:
    assert literal_address(host) == ip_address("::1")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "example.com",
        "127.0.0.1.example.com",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "08.1.1.1",
        "0xg",
        "4294967296",
        "1..1",
        "-1",
        "1_0.1",
        "9" * 5000,
        "[::1",
        "::1::",
    ],
)
def test_what_is_no_address_is_none(host: str) -> None:
    assert literal_address(host) is None


@given(
    st.from_regex(r"\A(0x|0X|0|00)?[0-9a-fA-F]{0,4}(\.(0x|0)?[0-9a-f]{0,4}){0,4}\Z").filter(
        lambda text: all(part.lower() != "0x" for part in text.split("."))
    )
)
def test_whatever_the_system_reads_as_an_address_is_recognised_as_that_address(text: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(text))
    except OSError:
        return
    assert literal_address(text) == expected
