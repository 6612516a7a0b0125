"""The local receiver, with real requests that an independent implementation signs."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from octohooks import Webhook
from octohooks_cli.failures import CommandFailed
from octohooks_cli.receiver import Arrival, Receiver, listen_at, url_of
from standardwebhooks import Webhook as IndependentWebhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id": 1, "name": "Z\xc3\xbcrich"}'


class Requests:
    """Sends to a receiver and holds what it reported."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.arrivals: list[Arrival] = []

    async def send(
        self,
        headers: dict[str, str] | None = None,
        *,
        body: bytes = BODY,
        method: str = "POST",
        path: str = "",
    ) -> int:
        async with self._session.request(
            method, self._url + path, data=body, headers=headers
        ) as response:
            return response.status


@asynccontextmanager
async def receiver(
    *, secret: str | None = SECRET, fail_first: int = 0, status: int = 200
) -> AsyncIterator[Requests]:
    with listen_at("127.0.0.1", 0) as listening:
        async with aiohttp.ClientSession() as session:
            requests = Requests(session, url_of(listening))
            webhook = None if secret is None else Webhook(secret)
            one = Receiver(
                requests.arrivals.append, webhook=webhook, fail_first=fail_first, status=status
            )
            async with one.serving(listening):
                yield requests


def signed(body: bytes = BODY, sent_at: datetime | None = None) -> dict[str, str]:
    sent_at = sent_at or datetime.now(UTC)
    signature = IndependentWebhook(SECRET).sign("msg_1", sent_at, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": signature,
    }


async def test_a_request_is_reported_as_it_came() -> None:
    async with receiver() as requests:
        assert await requests.send({**signed(), "X-Custom": "yes"}, path="hooks/1?a=b") == 200
    (arrival,) = requests.arrivals
    assert (arrival.method, arrival.path, arrival.body) == ("POST", "/hooks/1?a=b", BODY)
    assert ("X-Custom", "yes") in arrival.headers
    assert arrival.webhook_id == "msg_1"
    assert datetime.now(UTC) - arrival.time < timedelta(minutes=1)


async def test_a_right_signature_is_verified() -> None:
    async with receiver() as requests:
        await requests.send(signed())
    assert (requests.arrivals[0].verified, requests.arrivals[0].problem) == (True, "")


async def test_a_body_that_was_changed_on_the_way_is_not_verified() -> None:
    async with receiver() as requests:
        await requests.send(signed(), body=b'{"id": 2}')
    assert (requests.arrivals[0].verified, requests.arrivals[0].problem) == (
        False,
        "no signature matches",
    )


async def test_an_old_request_is_not_verified() -> None:
    async with receiver() as requests:
        await requests.send(signed(sent_at=datetime.now(UTC) - timedelta(hours=1)))
    assert requests.arrivals[0].verified is False
    assert "too old" in requests.arrivals[0].problem


async def test_a_request_without_a_signature_is_not_verified() -> None:
    async with receiver() as requests:
        await requests.send()
    assert requests.arrivals[0].verified is False
    assert requests.arrivals[0].webhook_id == ""


async def test_without_a_secret_nothing_is_said_about_the_signature() -> None:
    async with receiver(secret=None) as requests:
        await requests.send(signed())
    assert (requests.arrivals[0].verified, requests.arrivals[0].problem) == (None, "")


async def test_the_first_requests_fail_when_they_shall_and_later_ones_do_not() -> None:
    async with receiver(fail_first=2) as requests:
        assert [await requests.send(signed()) for _ in range(4)] == [500, 500, 200, 200]
    assert [arrival.status for arrival in requests.arrivals] == [500, 500, 200, 200]


async def test_every_method_and_path_gets_the_status_that_was_asked_for() -> None:
    async with receiver(status=410) as requests:
        assert await requests.send(method="GET", body=b"", path="x") == 410
        assert await requests.send(method="PUT") == 410
    assert [(arrival.method, arrival.path) for arrival in requests.arrivals] == [
        ("GET", "/x"),
        ("PUT", "/"),
    ]


async def test_the_largest_payload_fits() -> None:
    body = b'"' + b"x" * (350 * 1024 - 2) + b'"'
    async with receiver() as requests:
        assert await requests.send(signed(body), body=body) == 200
    assert requests.arrivals[0].verified is True


def test_a_port_that_is_taken_is_told() -> None:
    with listen_at("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"port {port}.*in use"):
            listen_at("127.0.0.1", port)


def test_the_url_names_an_address_that_this_machine_reaches() -> None:
    with listen_at("0.0.0.0", 0) as listening:
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://127.0.0.1:{port}/"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_the_url_of_an_ipv6_address_has_brackets() -> None:
    try:
        listening = listen_at("::1", 0)
    except CommandFailed:
        pytest.skip("this machine has no IPv6 loopback")
    with listening:
        port = listening.getsockname()[1]
        assert url_of(listening) == f"http://[::1]:{port}/"
