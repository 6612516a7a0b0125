"""How clients reach the server: where it listens, what is encrypted, what connections may do."""

import math
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import grpc.aio
import structlog

from octohooks_server.settings import Settings, SettingsError
from octohooks_server.tls import ServerCertificate, TlsFiles

log = structlog.get_logger()

# A request is a batch of messages at the most, and above all no more than memory bears. Clients
# take no response that is larger unless they are told to.
MAX_REQUEST_BYTES = 4 * 1024 * 1024
MAX_RESPONSE_BYTES = 4 * 1024 * 1024
# Names and values of a call's metadata, and 32 bytes for each.
MAX_METADATA_BYTES = 16 * 1024
# Calls at once on one connection, open watches among them; more wait at the client. Twice the
# watches that an environment may have unless told otherwise, so that they hold no calls up.
MAX_STREAMS_PER_CONNECTION = 2_000
# How long calls may go on after their connection has reached its age; watches are cut off then.
CONNECTION_AGE_GRACE = timedelta(minutes=5)
# How long a client has to complete TLS and the beginning of HTTP/2.
HANDSHAKE_TIMEOUT = timedelta(seconds=20)
# A client that went away silently is noticed after both: its watches would stay open else.
KEEPALIVE_TIME = timedelta(seconds=60)
KEEPALIVE_TIMEOUT = timedelta(seconds=20)
# Clients may ask so often whether the connection still stands, with calls under way or without, as
# the SDKs do every 30 s. Whoever does it more often for a third time is disconnected.
MIN_CLIENT_KEEPALIVE = timedelta(seconds=10)
_PING_STRIKES = 2


class Transport:
    """The way to the server, as its settings say."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for files that hold no certificate and key, and where calls would
        leave this machine in the clear without anybody having asked for it."""
        require_encryption(settings)
        files = tls_files(settings)
        self._certificate = None if files is None else ServerCertificate(files)
        self._settings = settings

    def options(self) -> Sequence[tuple[str, Any]]:
        """What the gRPC server is made with."""
        settings = self._settings
        return [
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
            # Between the two gRPC would refuse some calls by chance.
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
            ("grpc.max_allowed_incoming_connections", settings.max_connections),
            # Nobody can ask for what gRPC would note about each call.
            ("grpc.enable_channelz", 0),
            # Idle ones end by it too: gRPC's own limit for them is an error in clients' logs.
            ("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(CONNECTION_AGE_GRACE)),
            ("grpc.server_handshake_timeout_ms", _milliseconds(HANDSHAKE_TIMEOUT)),
            ("grpc.keepalive_time_ms", _milliseconds(KEEPALIVE_TIME)),
            # The one is for machines that are gone, the other for programs that stand still.
            ("grpc.keepalive_timeout_ms", _milliseconds(KEEPALIVE_TIMEOUT)),
            ("grpc.http2.ping_timeout_ms", _milliseconds(KEEPALIVE_TIMEOUT)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(MIN_CLIENT_KEEPALIVE)),
            ("grpc.http2.max_ping_strikes", _PING_STRIKES),
            ("grpc.so_reuseport", int(settings.share_port)),
        ]

    def bind(self, server: grpc.aio.Server) -> str:
        """Opens the port for a server with these options; answers `address:port`.

        Raises:
            SettingsError: the port cannot be had.
        """
        listen = self._settings.listen
        try:
            if self._certificate is None:
                port = server.add_insecure_port(listen)
            else:
                port = server.add_secure_port(listen, self._certificate.credentials())
        except RuntimeError:
            raise SettingsError(
                f"OCTOHOOKS_LISTEN is {listen}, which cannot be listened at; another program may"
                " be doing so."
            ) from None
        return f"{listen.rpartition(':')[0]}:{port}"


def tls_files(settings: Settings) -> TlsFiles | None:
    """The files that the settings name; None where they name none."""
    if settings.tls_certificate is None or settings.tls_private_key is None:
        return None
    return TlsFiles(settings.tls_certificate, settings.tls_private_key, settings.tls_client_ca)


def require_encryption(settings: Settings) -> None:
    """Raises SettingsError where API keys would leave this machine in the clear unasked."""
    if tls_files(settings) is None and not settings.allow_plaintext and not _is_loopback(settings):
        raise SettingsError(
            f"OCTOHOOKS_LISTEN is {settings.listen}, where other machines could read API keys on"
            " their way: set OCTOHOOKS_TLS_CERTIFICATE and OCTOHOOKS_TLS_PRIVATE_KEY, or"
            " OCTOHOOKS_ALLOW_PLAINTEXT=true if what stands before the server encrypts."
        )


def _is_loopback(settings: Settings) -> bool:
    host = settings.listen.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _milliseconds(duration: timedelta) -> int:
    return math.ceil(duration / timedelta(milliseconds=1))
