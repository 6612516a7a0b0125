"""Changing the keys that secrets are encrypted with, as an operator does."""

import asyncio
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
from octohooks import Webhook
from octohooks_cli.app import app
from octohooks_server.rules.keyring import key_id
from octohooks_server.serve import running
from octohooks_server.settings import Settings, SettingsError
from typer.testing import CliRunner

from tests.acceptance.canaries import files_of, found
from tests.receivers import Receiver, respond
from tests.server.api.home import Home
from tests.server.api.serving import Server, serving
from tests.waiting import eventually

OLD, NEW = b"thirty-two bytes, an older key..", b"thirty-two bytes, a newer key..."
SECRET = b"canary of an endpoint's secret, 32+"
TEXT = f"whsec_{b64encode(SECRET).decode()}"


def keys(*given: bytes) -> str:
    return ",".join(b64encode(key).decode() for key in given)


@pytest.fixture
def home(database_kind: str, database_url: str, tmp_path: Path) -> Home:
    """A place for servers, with an empty database."""
    return Home(tmp_path, database_url if database_kind == "postgresql" else None)


class Operator:
    """Whoever runs servers and commands on a home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.key = ""

    def serving(self, *given: bytes) -> Any:
        """A server with these keys."""
        return serving(self.home, encryption_keys=keys(*given) or None)

    async def octohooks(self, *arguments: str, given: tuple[bytes, ...] = ()) -> tuple[int, str]:
        """Runs `octohooks` with these keys; answers its exit code and what it printed."""
        surroundings = {
            "OCTOHOOKS_DATA_DIR": str(self.home.folder),
            "OCTOHOOKS_DATABASE_URL": self.home.database_url or "",
            "OCTOHOOKS_ENCRYPTION_KEYS": keys(*given),
        }
        done = await asyncio.to_thread(
            CliRunner().invoke, app, list(arguments), env=surroundings, catch_exceptions=False
        )
        return done.exit_code, " ".join(done.output.split())

    async def status(self) -> str:
        code, printed = await self.octohooks("encryption", "status")
        assert code == 0, printed
        return printed

    async def bring_all_under(self, *given: bytes) -> None:
        """What an operator does to have all secrets under the first of these keys."""
        async with self.serving(*given):
            code, printed = await self.octohooks("encryption", "rotate", given=given)
            if self.home.database_url:
                assert (code, "4 were not before" in printed) == (0, True), printed
                code, printed = await self.octohooks("encryption", "rotate", given=given)
                assert (code, "0 were not before" in printed) == (0, True), printed
            else:
                # Its one server does it by itself.
                assert (code, "by itself, in the background" in printed) == (1, True), printed
                await eventually(lambda: self._is_under(given[0]))
        assert await self.status() == f"4 with key {key_id(given[0])}"

    async def _is_under(self, key: bytes) -> bool:
        return await self.status() == f"4 with key {key_id(key)}"


async def assert_delivers(server: Server, environment_id: str, count: int) -> None:
    """Messages go out signed with the secret and with the headers."""
    tenant = await server.tenant(environment_id, await server.new_key(environment_id))
    async with (
        Receiver(respond(200)) as receiver,
        tenant.octohooks.attempt.watch() as watch,
    ):
        await watch.wait_until_live()
        for uid in ("one", "two"):
            await tenant.octohooks.endpoint.update("acme", uid, url=receiver.url)
        await tenant.octohooks.message.create("acme", event_type="e", payload={"n": count})
        for _ in range(2):
            assert (await anext(watch)).attempt.response_status == 200
        for request in receiver.requests:
            Webhook(TEXT).verify(request.body, dict(request.headers))
        assert sorted(len(request.all("x-own")) for request in receiver.requests) == [0, 1]


async def test_keys_are_changed_from_plain_to_newer_ones_and_back(home: Home) -> None:
    operator = Operator(home)
    async with operator.serving() as server:
        tenant = await server.new_tenant()
        await tenant.octohooks.application.create(uid="acme")
        for uid, headers in (("one", {"x-own": "1"}), ("two", {})):
            await tenant.octohooks.endpoint.create(
                "acme", uid=uid, url="https://example.com/", headers=headers, secret=TEXT
            )
    assert await operator.status() == "4 plain"

    await operator.bring_all_under(OLD)
    if home.database_url is None:
        # Nor is anything left in what the file does not use any more.
        assert not found({"secret": SECRET}, files_of(home.folder))
    await operator.bring_all_under(NEW, OLD)
    async with operator.serving(NEW) as server:
        await assert_delivers(server, tenant.id, 1)

    code, printed = await operator.octohooks("encryption", "rotate", "--decrypt", given=(NEW,))
    assert (code, "All secrets are plain; 4 were not" in printed) == (0, True), printed
    async with operator.serving() as server:
        await assert_delivers(server, tenant.id, 2)


async def test_a_server_without_a_key_that_secrets_need_does_not_start(home: Home) -> None:
    operator = Operator(home)
    async with operator.serving(OLD):
        pass
    for given in ({}, {"encryption_keys": keys(NEW)}):
        settings = Settings(**{**home.settings, "listen": "127.0.0.1:0", **given})
        with pytest.raises(SettingsError) as raised:
            async with running(settings):
                pass
        assert str(raised.value).startswith("OCTOHOOKS_ENCRYPTION_KEYS lacks")
        assert key_id(OLD) in str(raised.value)
    code, printed = await operator.octohooks("encryption", "rotate")
    assert (code, "OCTOHOOKS_ENCRYPTION_KEYS is not set" in printed) == (1, True)
    code, printed = await operator.octohooks("encryption", "rotate", given=(NEW,))
    assert (code, "and stayed as they were: 1." in printed) == (1, True), printed


@pytest.mark.one_database_is_enough
async def test_a_key_is_made_by_a_command_and_taken_from_a_file(home: Home) -> None:
    operator = Operator(home)
    code, printed = await operator.octohooks("encryption", "key")
    made, told = printed.split(" ", 1)
    assert (code, told) == (0, f"Its ID is {key_id(b64decode(made))}.")
    file = home.folder / "keys"
    file.write_text(f"{made}\n")
    async with serving(home, encryption_keys_file=file):
        pass
    assert await operator.status() == f"1 with key {key_id(b64decode(made))}"


@pytest.mark.one_database_is_enough
async def test_nothing_is_made_where_no_database_is(tmp_path: Path) -> None:
    operator = Operator(Home(tmp_path / "nowhere"))
    for command, given in (("status", ()), ("rotate", (NEW,))):
        code, printed = await operator.octohooks("encryption", command, given=given)
        assert (code, "There is no database" in printed) == (1, True), printed
    assert not (tmp_path / "nowhere").exists()
