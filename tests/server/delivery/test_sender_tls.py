"""TLS: only a receiver that proves to be the one that was meant gets the message."""

from datetime import timedelta
from pathlib import Path

import pytest
from octohooks.v1.attempt_pb2 import ErrorKind

from tests.certificates import Authority
from tests.receivers import Receiver, repeat, send_and_close, send_and_reset, stay_silent
from tests.server.delivery.sending import SHORT, Names, post, sending

NAMES = Names(
    receiver_test=("127.0.0.1",), receiver_test_=("127.0.0.1",), other_test=("127.0.0.1",)
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


async def test_a_receiver_with_a_valid_certificate_gets_the_message(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test", "127.0.0.1")
    async with (
        Receiver(tls=tls) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        for host in ("receiver.test", "receiver.test.", "127.0.0.1"):
            assert (await post(sender, receiver.url_of(host), body=b'{"a":1}')).status == 200
    assert [request.body for request in receiver.requests] == [b'{"a":1}'] * 3


async def test_a_certificate_for_another_name_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test")
    async with (
        Receiver(tls=tls) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        # A connection that is kept for one name does not serve another at the same address.
        assert (await post(sender, receiver.url_of("receiver.test"))).status == 200
        exchange = await post(sender, receiver.url_of("other.test"))
        assert len(receiver.requests) == 1
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TLS)
    assert exchange.error_detail == "The certificate was made for another name."


async def test_an_expired_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    tls = authority.server_context(tmp_path, "receiver.test", lifetime=timedelta(days=-1))
    async with (
        Receiver(tls=tls) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        exchange = await post(sender, receiver.url_of("receiver.test"))
        assert receiver.requests == []
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TLS)
    assert exchange.error_detail == "The certificate has expired."


async def test_an_unknown_issuer_is_refused_by_the_systems_trust(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test")
    async with Receiver(tls=tls) as receiver, sending(names=NAMES) as sender:
        exchange = await post(sender, receiver.url_of("receiver.test"))
        assert receiver.requests == []
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TLS)
    assert "issuer" in exchange.error_detail


async def test_a_receiver_that_does_not_speak_tls_is_a_tls_error(authority: Authority) -> None:
    plain = send_and_close(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with (
        Receiver(on_connect=plain) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        exchange = await post(sender, f"https://receiver.test:{receiver.port}/")
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TLS)


async def test_a_handshake_that_is_cut_is_a_lost_connection(authority: Authority) -> None:
    async with (
        Receiver(on_connect=send_and_reset()) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        exchange = await post(sender, f"https://receiver.test:{receiver.port}/")
    assert exchange.status == 0
    assert exchange.error_kind == ErrorKind.ERROR_KIND_CONNECTION_LOST


async def test_a_handshake_that_hangs_is_a_timeout_and_leaves_no_connection(
    authority: Authority,
) -> None:
    async with (
        Receiver(on_connect=stay_silent) as receiver,
        sending(names=NAMES, tls=authority.client_context(), timeout=SHORT) as sender,
    ):
        exchange = await post(sender, f"https://receiver.test:{receiver.port}/")
        await receiver.wait_for_ended_connections(receiver.connections)
    assert (exchange.status, exchange.error_kind) == (0, ErrorKind.ERROR_KIND_TIMEOUT)


async def test_an_endless_body_under_tls_is_cut_without_waiting_for_a_farewell(
    authority: Authority, tmp_path: Path
) -> None:
    tls = authority.server_context(tmp_path, "receiver.test")
    endless = repeat(b"a" * 65_536, after=b"HTTP/1.1 200 OK\r\n\r\n")
    async with (
        Receiver(endless, tls=tls) as receiver,
        sending(names=NAMES, tls=authority.client_context()) as sender,
    ):
        exchange = await post(sender, receiver.url_of("receiver.test"))
        await receiver.wait_for_ended_connections(1)
    assert (exchange.status, exchange.truncated) == (200, True)
