"""How the server is connected to: where it is, encryption, retries, keepalive."""

import ipaddress
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
import grpc.aio

from octohooks.calls import SERVICES
from octohooks.version import __version__

ChannelOption: TypeAlias = tuple[str, Any]

DEFAULT_TARGET = "localhost:50051"

# What can stand in a header, less spaces: anything else would make gRPC refuse the metadata with an
# exception that shows the key.
_API_KEY = re.compile(r"[\x21-\x7e]+")

_STREAMS_WITHOUT_RETRY = [{"service": "octohooks.v1.MessageService", "method": "PublishMessages"}]
SERVICE_CONFIG = {
    "methodConfig": [
        {
            # A watch is tried again by gRPC until its first response only.
            "name": [{"service": service.full_name} for service in SERVICES],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                # CANCELLED is what calls get that wait at a server when it begins to stop; it never
                # began them (grpc/grpc#41785). What this side cancels is not tried again.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
        # Its own code sends again what was not acknowledged.
        {"name": _STREAMS_WITHOUT_RETRY},
    ]
}

_OPTIONS: tuple[ChannelOption, ...] = (
    ("grpc.primary_user_agent", f"octohooks-python/{__version__}"),
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    # A connection that went away silently is noticed after 40 seconds. Pings are sent during calls
    # only, and the server's bookmarks on a watch come more often.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """All that is needed to open a channel and to authenticate on it."""

    target: str
    credentials: grpc.ChannelCredentials | None
    options: tuple[ChannelOption, ...]
    metadata: tuple[tuple[str, str], ...]

    def open(self) -> grpc.Channel:
        """A channel for blocking calls."""
        if self.credentials is None:
            return grpc.insecure_channel(self.target, self.options)
        return grpc.secure_channel(self.target, self.credentials, self.options)

    def open_async(self) -> grpc.aio.Channel:
        """A channel for asyncio, bound to the running loop."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.target, self.options)
        return grpc.aio.secure_channel(self.target, self.credentials, self.options)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What to trust and what to show, in PEM; None where nothing is said."""

    root_certificates: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None

    def __bool__(self) -> bool:
        return self != Certificates()

    def or_from_environment(self) -> "Certificates":
        """These, and from the files that the environment names what these say nothing of. A
        certificate and its key come from one place."""
        client = (self.client_certificate, self.client_key)
        if client == (None, None):
            client = (
                _file_of("OCTOHOOKS_TLS_CLIENT_CERTIFICATE"),
                _file_of("OCTOHOOKS_TLS_CLIENT_KEY"),
            )
        return Certificates(self.root_certificates or _file_of("OCTOHOOKS_TLS_CA"), *client)

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises ValueError for a certificate without its key, and for what is not in PEM."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("a client's certificate and its key are only good together")
        for name, pem in (
            ("root certificates", self.root_certificates),
            ("client certificate", self.client_certificate),
            ("client key", self.client_key),
        ):
            # gRPC would say no more than that no server answers.
            if pem is not None and b"-----BEGIN " not in pem:
                raise ValueError(f"the {name} are not in PEM form")
        return grpc.ssl_channel_credentials(
            self.root_certificates, self.client_key, self.client_certificate
        )


def connection(
    api_key: str | None,
    target: str | None,
    tls: bool | grpc.ChannelCredentials | None,
    options: Sequence[ChannelOption],
    certificates: Certificates = Certificates(),
) -> Connection:
    """The connection that a client's arguments and the environment ask for.

    Raises:
        ValueError: there is no API key, or it holds what no key holds; or certificates cannot be
            had, or contradict `tls`.
    """
    api_key = (api_key or os.environ.get("OCTOHOOKS_API_KEY", "")).strip()
    if not api_key:
        raise ValueError("an API key is needed: pass api_key or set OCTOHOOKS_API_KEY")
    if not _API_KEY.fullmatch(api_key):
        raise ValueError("the API key holds spaces or characters other than ASCII")
    target = (target or os.environ.get("OCTOHOOKS_TARGET", "")).strip() or DEFAULT_TARGET
    local = is_local(target)
    # A proxy from the environment would carry to another host what is meant to stay on this one.
    proxy: tuple[ChannelOption, ...] = (("grpc.enable_http_proxy", 0),) if local else ()
    return Connection(
        target=target,
        credentials=_credentials(tls, local, certificates),
        options=_merged(_OPTIONS, proxy, options),
        metadata=(("authorization", f"Bearer {api_key}"),),
    )


def _credentials(
    tls: bool | grpc.ChannelCredentials | None, local: bool, certificates: Certificates
) -> grpc.ChannelCredentials | None:
    if certificates and tls not in (None, True):
        raise ValueError("certificates are given, and tls says not to use them")
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    if tls is False:
        return None
    certificates = certificates.or_from_environment()
    # Certificates are reason enough to encrypt, even on this machine.
    if tls is None and local and not certificates:
        return None
    return certificates.credentials()


def _file_of(variable: str) -> bytes | None:
    """What the file holds that an environment variable names; None when it is not set."""
    path = os.environ.get(variable, "").strip()
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{variable} is {path}, which cannot be read: {error.strerror}") from None


def is_local(target: str) -> bool:
    """Whether a gRPC target is this machine: a unix socket, `localhost`, or loopback addresses
    only."""
    scheme, separator, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract") and separator:
        return True
    if scheme == "dns" and separator:
        # What follows two slashes only is a name server, and that could say anything.
        target = rest.removeprefix("///")
    elif scheme in ("ipv4", "ipv6") and separator:
        target = unquote(rest)
    return all(_is_loopback(_host(address)) for address in target.split(","))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _merged(*groups: Sequence[ChannelOption]) -> tuple[ChannelOption, ...]:
    """The options, where a later one replaces an earlier one of the same name."""
    return tuple({name: value for group in groups for name, value in group}.items())
