"""Where the API key may go in the clear, and how the server is connected to."""

import datetime
import ipaddress
from typing import Any, NamedTuple

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from octohooks import Unavailable
from octohooks.channel import connection

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


class Certificate(NamedTuple):
    """A certificate that signs itself, for 127.0.0.1."""

    key: bytes
    chain: bytes


def certificate() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "octohooks test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        built.public_bytes(serialization.Encoding.PEM),
    )


def test_credentials_of_a_private_authority_are_used(connect: Connect) -> None:
    key, chain = certificate()
    with FakeServer(credentials=grpc.ssl_server_credentials([(key, chain)])) as encrypted:
        trusting = connect(
            target=encrypted.target, tls=grpc.ssl_channel_credentials(root_certificates=chain)
        )
        trusting.application.get("some-user")
        assert len(encrypted.received) == 1
        with pytest.raises(Unavailable):
            connect(target=encrypted.target, tls=True).application.get("some-user")
        assert len(encrypted.received) == 1


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
