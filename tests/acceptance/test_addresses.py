"""No request reaches an address that is not public, unless the operator allows its subnet."""

import octohooks
import pytest
from octohooks import AsyncOctohooks
from octohooks.v1.attempt_pb2 import ERROR_KIND_ADDRESS_BLOCKED

from tests.acceptance.conftest import StartServer
from tests.acceptance.events import next_attempt
from tests.receivers import Decoy

_SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0177.0.0.01",
    "127.0.0.1.",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "localhost",
    "sub.localhost.",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25eth0]",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "[fd00:ec2::254]",
    "0.0.0.0",
]


@pytest.fixture(scope="module")
def strict() -> dict[str, str]:
    """The settings of a server that may send to public addresses alone."""
    return {"allowed_subnets": ""}


async def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(
    start_server: StartServer, strict: dict[str, str]
) -> None:
    server = await start_server(**strict)
    with Decoy() as decoy:
        async with AsyncOctohooks(server.api_key, target=server.address) as client:
            application = (await client.application.create()).id
            for host in _SPELLINGS:
                with pytest.raises(octohooks.InvalidArgument) as raised:
                    await client.endpoint.create(application, url=f"http://{host}:{decoy.port}/")
                assert [one.field for one in raised.value.violations] == ["endpoint.url"], host
        assert not decoy.saw_a_connection()


async def test_an_address_in_the_user_information_is_refused(
    start_server: StartServer, strict: dict[str, str]
) -> None:
    server = await start_server(**strict)
    with Decoy() as decoy:
        async with AsyncOctohooks(server.api_key, target=server.address) as client:
            application = (await client.application.create()).id
            for url in (
                f"http://example.com@127.0.0.1:{decoy.port}/",
                f"http://127.0.0.1:{decoy.port}@example.com/",
                f"http://127.0.0.1:{decoy.port}\\@example.com/",
            ):
                with pytest.raises(octohooks.InvalidArgument):
                    await client.endpoint.create(application, url=url)
        assert not decoy.saw_a_connection()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["by address", "by name"])
async def test_an_address_that_is_no_longer_allowed_is_blocked_where_it_is_dialled_and_retried(
    start_server: StartServer, strict: dict[str, str], host: str
) -> None:
    server = await start_server(allowed_subnets="127.0.0.0/8,::1/128")
    with Decoy() as decoy:
        async with AsyncOctohooks(server.api_key, target=server.address) as client:
            application = (await client.application.create()).id
            await client.endpoint.create(
                application,
                url=f"http://{host}:{decoy.port}/",
                retry_schedule=[0, 0.01],
            )
            await server.stop()
            await server.restart(**strict)
            async with client.attempt.watch() as watch:
                await watch.wait_until_live()
                await client.message.create(application, event_type="x", payload={})
                attempts = [await next_attempt(watch) for _ in range(2)]
        assert [one.error_kind for one in attempts] == [ERROR_KIND_ADDRESS_BLOCKED] * 2
        assert [one.response_status for one in attempts] == [0, 0]
        assert not decoy.saw_a_connection()
