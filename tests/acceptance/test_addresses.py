"""No request reaches an address that is not public, unless the operator allows its subnet.

What names lead to is in test_names.py.
"""

from collections.abc import AsyncIterator, Iterator

import octohooks
import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ERROR_KIND_ADDRESS_BLOCKED, ERROR_KIND_REDIRECT

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempt
from tests.acceptance.process import ServerProcess, running_server
from tests.receivers import Decoy, Receiver, respond

_SPELLINGS = [
    "127.0.0.1",
    "127.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0X7F.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.01",
    "00000177.0.0.1",
    "127.0.0.1.",
    "0.0.0.0",
    "0",
    "127.255.255.254",
    # IDN digits and full stops, which are those of ASCII once they are normalised.
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "\u00b9\u00b2\u2077.0.0.1",
    "\U0001d7cf\U0001d7d0\U0001d7d5.0.0.1",
    "127\u30020\uff0e0\uff611",
    # Digits that are not: neither a name nor an address.
    "\u0661\u0662\u0667.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "sub.localhost.",
    "\uff4cocalhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[ff02::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "[fd00:ec2::254]",
    "255.255.255.255",
]

_AUTHORITIES = [
    "example.com@127.0.0.1:{port}",
    "example.com:80@127.0.0.1:{port}",
    "127.0.0.1:{port}@example.com",
    "127.0.0.1:{port}\\@example.com",
    "example.com\\@127.0.0.1:{port}",
    "example.com%40127.0.0.1:{port}",
    "127.0.0.1:{port}#@example.com",
    "example.com@@127.0.0.1:{port}",
]


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may send to public addresses alone."""
    with running_server(tmp_path_factory.mktemp("strict"), allowed_subnets="") as server:
        yield server


@pytest.fixture
async def strict(strict_server: ServerProcess) -> AsyncIterator[AsyncOctohooks]:
    """A client of the server that may send to public addresses alone."""
    async with strict_server.connect() as client:
        yield client


@pytest.fixture
def decoy() -> Iterator[Decoy]:
    """A listener that nobody must connect to."""
    with Decoy() as decoy:
        yield decoy
        assert not decoy.saw_a_connection()


@pytest.mark.parametrize("host", _SPELLINGS, ids=ascii)
async def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(
    host: str, strict: AsyncOctohooks, decoy: Decoy
) -> None:
    """As the URL of an endpoint or of an operational webhook, that is new or that is changed."""
    url = f"http://{host}:{decoy.port}/"
    application = (await strict.application.create()).id
    good = await strict.endpoint.create(application, url="https://example.com/")
    for call in (
        strict.endpoint.create(application, url=url),
        strict.endpoint.update(application, good.id, url=url),
        strict.operational_webhook.create(url=url),
    ):
        with pytest.raises(octohooks.InvalidArgument) as raised:
            await call
        assert [one.field.rpartition(".")[2] for one in raised.value.violations] == ["url"]
    assert (await strict.endpoint.get(application, good.id)).url == "https://example.com/"


@pytest.mark.parametrize("authority", _AUTHORITIES)
async def test_an_address_beside_user_information_is_refused(
    authority: str, strict: AsyncOctohooks, decoy: Decoy
) -> None:
    application = (await strict.application.create()).id
    with pytest.raises(octohooks.InvalidArgument) as raised:
        await strict.endpoint.create(
            application, url=f"http://{authority.format(port=decoy.port)}/"
        )
    assert [one.field for one in raised.value.violations] == ["endpoint.url"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["by address", "by name"])
async def test_an_address_that_is_no_longer_allowed_is_blocked_where_it_is_dialled_and_retried(
    start_server: StartServer, host: str, decoy: Decoy
) -> None:
    server = await start_server(allowed_subnets="127.0.0.0/8,::1/128")
    async with server.connect() as client:
        application = (await client.application.create()).id
        await client.endpoint.create(
            application, url=f"http://{host}:{decoy.port}/", retry_schedule=[0, 0.01]
        )
        await server.stop()
        await server.restart(allowed_subnets="")
        async with client.attempt.watch() as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="x", payload={})
            attempts = [await next_attempt(watch) for _ in range(2)]
    assert [one.error_kind for one in attempts] == [ERROR_KIND_ADDRESS_BLOCKED] * 2
    assert [one.response_status for one in attempts] == [0, 0]


async def test_a_redirect_does_not_lead_inside(
    client: AsyncOctohooks, application: str, decoy: Decoy
) -> None:
    inside = [("location", f"http://127.0.0.1:{decoy.port}/")]
    async with Receiver(respond(307, headers=inside)) as receiver:
        await client.endpoint.create(application, url=receiver.url, retry_schedule=[0])
        async with client.attempt.watch(application=application) as watch:
            await watch.wait_until_live()
            await client.message.create(application, event_type="x", payload={})
            attempt = await next_attempt(watch)
    assert (attempt.response_status, attempt.error_kind) == (307, ERROR_KIND_REDIRECT)


async def test_a_proxy_in_the_environment_is_not_used(
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    receiver: Receiver,
    decoy: Decoy,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{decoy.port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = await start_server()
    async with server.connect() as client:
        application = (await client.application.create()).id
        await client.endpoint.create(application, url=receiver.url)
        message = await client.message.create(application, event_type="x", payload={})
    assert (await receiver.next_request()).header("webhook-id") == message.id
