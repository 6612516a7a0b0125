"""With an outbound proxy everything goes through it, to the address that was checked here."""

from datetime import timedelta
from pathlib import Path

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind

from tests.certificates import Authority
from tests.receivers import (
    Decoy,
    Receiver,
    Script,
    respond,
    send,
    send_and_close,
    stay_silent,
    tunnel,
)
from tests.server.delivery.sending import PATIENT, SHORT, Names, post, sending


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


async def test_https_goes_through_a_tunnel_to_the_checked_address(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test")
    names = Names(receiver_test=("10.0.0.1", "127.0.0.1"))
    async with (
        Receiver(tls=tls) as receiver,
        Receiver(tunnel) as proxy,
        sending(
            allowed="127.0.0.1/32",
            names=names,
            outbound_proxy=f"http://127.0.0.1:{proxy.port}",
            tls=authority.client_context(),
        ) as sender,
    ):
        exchange = await post(sender, receiver.url_of("receiver.test"), body=b'{"a":1}')
        request = await receiver.next_request()
        asked = await proxy.next_request()
    assert exchange.status == 200
    assert asked.line == f"CONNECT 127.0.0.1:{receiver.port} HTTP/1.1"
    assert (request.line, request.body) == ("POST /hook HTTP/1.1", b'{"a":1}')
    assert request.header("host") == f"receiver.test:{receiver.port}"


async def test_inside_the_tunnel_the_certificate_must_be_for_the_name(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test")
    names = Names(receiver_test=("127.0.0.1",), other_test=("127.0.0.1",))
    async with (
        Receiver(tls=tls) as receiver,
        Receiver(tunnel) as proxy,
        sending(
            names=names,
            outbound_proxy=f"http://127.0.0.1:{proxy.port}",
            tls=authority.client_context(),
        ) as sender,
    ):
        # A tunnel that is kept for one name does not serve another at the same address.
        assert (await post(sender, receiver.url_of("receiver.test"))).status == 200
        exchange = await post(sender, receiver.url_of("other.test"))
        assert len(receiver.requests) == 1
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TLS)


async def test_http_names_the_checked_address_to_the_proxy() -> None:
    names = Names(receiver_test=("127.0.0.9",))
    async with (
        Receiver(respond(202)) as proxy,
        sending(names=names, outbound_proxy=f"http://user:secret@127.0.0.1:{proxy.port}") as sender,
    ):
        exchange = await post(sender, "http://receiver.test:8080/hook?a=b")
        request = await proxy.next_request()
    assert exchange.status == 202
    assert request.line == "POST http://127.0.0.9:8080/hook?a=b HTTP/1.1"
    assert request.header("host") == "receiver.test:8080"
    assert request.header("proxy-authorization") == "Basic dXNlcjpzZWNyZXQ="


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://2130706433:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "http://inside.test:{port}/",
        "https://inside.test:{port}/",
    ],
)
async def test_the_proxy_is_not_asked_for_an_address_inside(url: str) -> None:
    names = Names(inside_test=("127.0.0.1", "169.254.169.254"))
    with Decoy() as proxy, Decoy() as target:
        async with sending(
            allowed="", names=names, outbound_proxy=f"http://127.0.0.1:{proxy.port}"
        ) as sender:
            exchange = await post(sender, url.format(port=target.port))
        assert not proxy.saw_a_connection()
        assert not target.saw_a_connection()
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_ADDRESS_BLOCKED)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_name_that_changes_its_answer_does_not_lead_the_proxy_inside(scheme: str) -> None:
    names = Names(rebinding_test=[("127.0.0.9",), ("10.0.0.1",)])
    async with (
        Receiver(respond(503, headers=[("connection", "close")])) as proxy,
        sending(
            allowed="127.0.0.9/32",
            names=names,
            outbound_proxy=f"http://127.0.0.1:{proxy.port}",
        ) as sender,
    ):
        await post(sender, f"{scheme}://rebinding.test/")
        exchange = await post(sender, f"{scheme}://rebinding.test/")
        assert ["127.0.0.9" in request.line for request in proxy.requests] == [True]
    assert exchange.error_kind == ErrorKind.ERROR_KIND_ADDRESS_BLOCKED


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_refusal_of_the_proxy_is_not_the_receivers_status(status: int) -> None:
    async with (
        Receiver(respond(status)) as proxy,
        sending(outbound_proxy=f"http://127.0.0.1:{proxy.port}") as sender,
    ):
        exchange = await post(sender, "https://127.0.0.1:9/")
    assert exchange.status == 0
    assert exchange.error_kind == ErrorKind.ERROR_KIND_CONNECTION_FAILED
    assert "proxy" in exchange.error_detail


async def test_a_proxy_that_is_away_is_told_as_such() -> None:
    async with Receiver() as gone:
        port = gone.port
    for proxy in (f"http://127.0.0.1:{port}", "http://nowhere.test:3128"):
        async with sending(outbound_proxy=proxy) as sender:
            exchange = await post(sender, "http://127.0.0.9/")
        assert exchange.status == 0
        assert exchange.error_kind == ErrorKind.ERROR_KIND_CONNECTION_FAILED
        assert "proxy" in exchange.error_detail


async def test_a_name_that_cannot_be_resolved_is_told_with_a_proxy_too() -> None:
    async with sending(outbound_proxy="http://127.0.0.1:9") as sender:
        exchange = await post(sender, "https://nowhere.test/")
    assert exchange.error_kind == ErrorKind.ERROR_KIND_NAME_NOT_RESOLVED


@pytest.mark.parametrize(
    ("script", "timeout", "kind"),
    [
        (stay_silent, SHORT, ErrorKind.ERROR_KIND_TIMEOUT),
        (send(b"what?\r\n\r\n"), PATIENT, ErrorKind.ERROR_KIND_PROTOCOL),
        (send_and_close(), PATIENT, ErrorKind.ERROR_KIND_CONNECTION_LOST),
    ],
    ids=["silent", "not_http", "closing"],
)
async def test_a_broken_proxy_has_a_typed_error(
    script: Script, timeout: timedelta, kind: ErrorKind.ValueType
) -> None:
    async with (
        Receiver(script) as proxy,
        sending(outbound_proxy=f"http://127.0.0.1:{proxy.port}", timeout=timeout) as sender,
    ):
        exchange = await post(sender, "https://127.0.0.1:9/")
    assert (exchange.status, exchange.error_kind) == (0, kind)
