"""Where the API key may go in the clear, and how the server is connected to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from octohooks import Unavailable
from octohooks.channel import Certificates, connection

from tests.certificates import Authority
from tests.sdk.conftest import Connect
from tests.sdk.fake_server import FakeServer


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "localhost:50051",
        "LocalHost:50051",
        "127.0.0.1:50051",
        "127.9.9.9:50051",
        "[::1]:50051",
        "::1",
        "dns:localhost:50051",
        "dns:///localhost:50051",
        "ipv4:127.0.0.1:50051",
        "ipv4:127.0.0.1:1,127.0.0.2:2",
        "ipv6:[::1]:50051",
        "ipv6:%5B::1%5D:50051",
        "unix:/run/octohooks.sock",
        "unix:///run/octohooks.sock",
        "unix-abstract:octohooks",
    ],
)
def test_loopback_and_unix_sockets_are_plaintext_unless_told(target: str) -> None:
    assert connection("key", target, None, ()).credentials is None
    assert connection("key", target, True, ()).credentials is not None


@pytest.mark.parametrize(
    "target",
    [
        "octohooks.example.com:443",
        "dns:///octohooks.example.com:443",
        "dns://127.0.0.1/octohooks.example.com:443",
        "dns://192.0.2.1/localhost:443",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "[::]:50051",
        "[2001:db8::1]:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:2",
        "localhost.example.com:50051",
        "127.0.0.1.example.com:50051",
        "localhost,octohooks.example.com",
        "xds:///localhost:50051",
        "unix.example.com:50051",
        "unix",
    ],
)
def test_everything_else_is_encrypted_unless_told(target: str) -> None:
    assert connection("key", target, None, ()).credentials is not None
    assert connection("key", target, False, ()).credentials is None


def test_an_encrypting_client_sends_nothing_to_a_server_in_the_clear(
    connect: Connect, server: FakeServer
) -> None:
    with pytest.raises(Unavailable):
        connect(tls=True).application.get("some-user")
    assert server.received == []


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def encrypted(authority: Authority) -> Iterator[FakeServer]:
    """A server on this machine that speaks TLS."""
    issued = authority.issue("127.0.0.1")
    credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
    with FakeServer(credentials=credentials) as encrypted:
        yield encrypted


@pytest.fixture
def mutual(authority: Authority) -> Iterator[FakeServer]:
    """The same, for clients that show a certificate of the same authority."""
    issued = authority.issue("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(issued.key, issued.certificate)],
        root_certificates=authority.pem().encode(),
        require_client_auth=True,
    )
    with FakeServer(credentials=credentials) as mutual:
        yield mutual


def test_a_private_authority_is_trusted_where_it_is_given_and_else_it_is_not(
    connect: Connect, encrypted: FakeServer, authority: Authority
) -> None:
    roots = authority.pem().encode()
    for options in (
        {"root_certificates": roots},
        {"tls": grpc.ssl_channel_credentials(root_certificates=roots)},
    ):
        connect(target=encrypted.target, **options).application.get("some-user")
    assert len(encrypted.received) == 2
    with pytest.raises(Unavailable):
        connect(target=encrypted.target, tls=True).application.get("some-user")
    assert len(encrypted.received) == 2


def test_a_client_shows_its_certificate_to_a_server_that_wants_one(
    connect: Connect, mutual: FakeServer, authority: Authority
) -> None:
    roots = authority.pem().encode()
    shown = authority.issue("a client")
    connect(
        target=mutual.target,
        root_certificates=roots,
        client_certificate=shown.certificate,
        client_key=shown.key,
    ).application.get("some-user")
    with pytest.raises(Unavailable):
        connect(target=mutual.target, root_certificates=roots).application.get("some-user")
    assert len(mutual.received) == 1


def test_the_environment_names_files_with_certificates(
    connect: Connect,
    mutual: FakeServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """And they are reason enough to encrypt what stays on this machine, unless told otherwise."""
    shown = authority.issue("a client")
    for name, content in (
        ("CA", authority.pem().encode()),
        ("CLIENT_CERTIFICATE", shown.certificate),
        ("CLIENT_KEY", shown.key),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        monkeypatch.setenv(f"OCTOHOOKS_TLS_{name}", f"{file}\n")
    connect(target=mutual.target).application.get("some-user")
    assert len(mutual.received) == 1
    assert connection("key", mutual.target, False, ()).credentials is None


def test_a_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OCTOHOOKS_TLS_CA", str(tmp_path / "gone.pem"))
    with pytest.raises(ValueError, match=r"OCTOHOOKS_TLS_CA is .*gone\.pem, which cannot be read"):
        connection("key", None, None, ())


@pytest.mark.parametrize(
    ("tls", "certificates"),
    [
        (False, Certificates(root_certificates=b"-----BEGIN CERTIFICATE-----")),
        (grpc.ssl_channel_credentials(), Certificates(b"-----BEGIN CERTIFICATE-----")),
        (None, Certificates(client_certificate=b"-----BEGIN CERTIFICATE-----")),
        (None, Certificates(client_key=b"-----BEGIN PRIVATE KEY-----")),
        (None, Certificates(root_certificates=b"/etc/ssl/authority.pem")),
    ],
)
def test_certificates_that_make_no_sense_are_refused(
    tls: bool | grpc.ChannelCredentials | None, certificates: Certificates
) -> None:
    with pytest.raises(ValueError, match="certificate"):
        connection("key", "octohooks.example.com:443", tls, (), certificates)


def test_what_stays_on_this_machine_never_goes_through_a_proxy(
    connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        # Nothing listens on the discard port; were it asked, the call would fail.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    connect().application.get("some-user")
    assert len(server.received) == 1


def test_channel_options_replace_those_of_the_same_name() -> None:
    options: dict[str, Any] = dict(
        connection("key", None, None, [("grpc.keepalive_time_ms", 5), ("own", "x")]).options
    )
    assert options["grpc.keepalive_time_ms"] == 5
    assert options["own"] == "x"
    assert options["grpc.keepalive_timeout_ms"] == 10_000
