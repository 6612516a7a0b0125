"""What the files of the server's certificate have to hold, and what happens when they change."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from octohooks import AsyncOctohooks, Unavailable
from octohooks_server.serve import Running, running
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.tls import ServerCertificate, TlsFiles, read_tls_files
from structlog.testing import capture_logs

from tests.certificates import Authority
from tests.receivers import Receiver
from tests.server.tls_files import TlsFolder, shown_by

LOCALHOST = ("127.0.0.1", "localhost")


def _block(label: str) -> bytes:
    """What looks like PEM and holds nothing."""
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n".encode()


def _other_key(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> TlsFolder:
    """A certificate for this machine."""
    folder = TlsFolder(tmp_path)
    folder.put(authority.issue(*LOCALHOST))
    folder.client_ca.write_text(authority.pem())
    return folder


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Running]:
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "data_dir": folder / "data",
        "allowed_subnets": "127.0.0.0/8",
        **settings,
    }
    async with running(Settings(**given)) as server:
        yield server


def key_of(server: Running) -> str:
    """A key of the environment that the first start made."""
    assert server.first_start is not None
    return server.first_start.api_key


async def test_a_watch_goes_on_when_the_certificate_is_replaced_and_new_connections_see_the_new_one(
    tmp_path: Path, authority: Authority, files: TlsFolder
) -> None:
    roots = authority.pem().encode()
    async with (
        Receiver() as receiver,
        serving(tmp_path, **files.settings()) as server,
        AsyncOctohooks(key_of(server), target=server.address, root_certificates=roots) as client,
    ):
        await client.application.create(uid="acme")
        await client.endpoint.create("acme", url=receiver.url)
        async with client.attempt.watch() as watch:
            await watch.wait_until_live()
            before = await shown_by(server.address, authority)
            renewed = authority.issue(*LOCALHOST)
            files.put(renewed)

            with capture_logs() as logs:
                assert await shown_by(server.address, authority) == renewed.serial_number != before
            assert [line["event"] for line in logs] == ["certificate_read"]
            await client.message.create("acme", event_type="sent.later", payload={})
            assert (await anext(watch)).attempt.event_type == "sent.later"


async def test_files_that_do_not_fit_leave_the_old_certificate_and_are_told_once(
    tmp_path: Path, authority: Authority, files: TlsFolder
) -> None:
    async with serving(tmp_path, **files.settings()) as server:
        before = await shown_by(server.address, authority)
        other = authority.issue(*LOCALHOST)
        with capture_logs() as logs:
            files.certificate.write_bytes(other.certificate)
            assert await shown_by(server.address, authority) == before
            assert await shown_by(server.address, authority) == before
        (told,) = logs
        assert (told["event"], told["log_level"]) == ("certificate_refused", "error")
        assert told["problem"].startswith("OCTOHOOKS_TLS_PRIVATE_KEY is ")
        files.key.unlink()
        assert await shown_by(server.address, authority) == before
        files.put(other)
        assert await shown_by(server.address, authority) == other.serial_number


async def test_clients_are_served_that_trust_the_authority_and_no_others(
    tmp_path: Path, authority: Authority, files: TlsFolder
) -> None:
    async with serving(tmp_path, **files.settings()) as server:
        for options, is_served in (
            ({"root_certificates": authority.pem().encode()}, True),
            ({"root_certificates": Authority.make().pem().encode()}, False),
            ({"tls": True}, False),
            ({"tls": False}, False),
        ):
            assert await is_answered(server, **options) == is_served


async def test_with_an_authority_of_clients_only_they_are_served_that_show_its_certificates(
    tmp_path: Path, authority: Authority, files: TlsFolder
) -> None:
    clients = Authority.make()
    files.client_ca.write_text(clients.pem())
    roots = authority.pem().encode()
    async with serving(tmp_path, **files.settings(mutual=True)) as server:
        for issuer, is_served in ((clients, True), (authority, False), (None, False)):
            shown = issuer.issue("a client") if issuer else None
            assert is_served == await is_answered(
                server,
                root_certificates=roots,
                client_certificate=shown and shown.certificate,
                client_key=shown and shown.key,
            )
        files.client_ca.write_text(authority.pem())
        shown = authority.issue("a client")
        assert await is_answered(
            server,
            root_certificates=roots,
            client_certificate=shown.certificate,
            client_key=shown.key,
        )


async def is_answered(server: Running, **options: Any) -> bool:
    """Whether the server takes calls from clients with these options."""
    async with AsyncOctohooks(
        key_of(server),
        target=server.address,
        # Channels with equal options share a connection else.
        channel_options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)],
        **options,
    ) as client:
        try:
            await client.application.create()
        except Unavailable:
            return False
    return True


@pytest.mark.parametrize(
    ("content", "setting"),
    [
        ({"certificate": None}, "CERTIFICATE"),
        ({"key": None}, "PRIVATE_KEY"),
        ({"client_ca": None}, "CLIENT_CA"),
        ({"certificate": b""}, "CERTIFICATE"),
        ({"certificate": _block("CERTIFICATE")}, "CERTIFICATE"),
        ({"client_ca": b"nobody"}, "CLIENT_CA"),
        ({"key": _block("PRIVATE KEY")}, "PRIVATE_KEY"),
        ({"key": Authority.make().issue("another").key}, "PRIVATE_KEY"),
        ({"key": _other_key(ed25519.Ed25519PrivateKey.generate())}, "PRIVATE_KEY"),
        ({"key": _other_key(ec.generate_private_key(ec.SECP521R1()))}, "PRIVATE_KEY"),
    ],
)
def test_files_that_do_not_hold_what_they_should_are_refused_with_a_sentence(
    files: TlsFolder, content: dict[str, bytes | None], setting: str
) -> None:
    for name, data in content.items():
        path: Path = getattr(files, name)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
    assert refusal(files).startswith(f"OCTOHOOKS_TLS_{setting} is {files.key.parent}")


def test_a_key_with_a_password_is_refused(files: TlsFolder) -> None:
    key = load_pem_private_key(files.key.read_bytes(), password=None)
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    assert "is encrypted" in refusal(files)


def refusal(files: TlsFolder) -> str:
    """The sentence with which the files are refused."""
    with pytest.raises(SettingsError) as refused:
        read_tls_files(TlsFiles(files.certificate, files.key, files.client_ca))
    sentence = str(refused.value)
    assert sentence.endswith(".")
    return sentence


def test_a_key_that_others_may_read_and_a_certificate_that_has_expired_are_warned_of(
    files: TlsFolder, authority: Authority
) -> None:
    files.put(authority.issue(*LOCALHOST, lifetime=timedelta(days=-1)))
    files.key.chmod(0o644)
    with capture_logs() as logs:
        ServerCertificate(TlsFiles(files.certificate, files.key))
    assert {(line["log_level"], line["event"]) for line in logs} == {
        ("warning", "private_key_readable_by_others"),
        ("warning", "certificate_expired"),
    }


def test_a_key_of_its_owner_and_group_is_nothing_to_warn_of(files: TlsFolder) -> None:
    files.key.chmod(0o640)
    with capture_logs() as logs:
        ServerCertificate(TlsFiles(files.certificate, files.key))
    assert logs == []
