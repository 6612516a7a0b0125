"""The certificate that the server shows, from files that may be replaced while it runs."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from octohooks_server.settings import SettingsError

log = structlog.get_logger()

# The curves that gRPC's TLS signs with.
_CURVES = (ec.SECP256R1, ec.SECP384R1)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files, by the settings that name them. With `client_ca`, only clients may connect that
    show a certificate which one of its authorities has signed."""

    certificate: Path
    private_key: Path
    client_ca: Path | None = None

    def state(self) -> Sequence[object]:
        """Differs once a file was written, replaced or removed."""
        return [_state(path) for path in (self.certificate, self.private_key, self.client_ca)]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files held, found to fit together."""

    configuration: grpc.ServerCertificateConfiguration
    # Within these all certificates of the chain are good.
    begins_at: datetime
    expires_at: datetime
    # Whether users of this machine other than the key's owner and group may read it.
    is_key_open: bool


def read_tls_files(files: TlsFiles) -> TlsMaterial:
    """Reads the files and checks that a server can be had with them.

    A certificate that has expired passes: clients refuse it, and so they say why.

    Raises:
        SettingsError: a file cannot be read, does not hold what it should, or the key is not that
            of the certificate.
    """
    chain_pem = _read("CERTIFICATE", files.certificate)
    key_pem = _read("PRIVATE_KEY", files.private_key)
    chain = _certificates("CERTIFICATE", files.certificate, chain_pem)
    _check_key(files, chain[0], key_pem)
    client_ca_pem = None
    if files.client_ca is not None:
        client_ca_pem = _read("CLIENT_CA", files.client_ca)
        _certificates("CLIENT_CA", files.client_ca, client_ca_pem)
    return TlsMaterial(
        configuration=grpc.ssl_server_certificate_configuration(
            [(key_pem, chain_pem)], root_certificates=client_ca_pem
        ),
        begins_at=max(one.not_valid_before_utc for one in chain),
        expires_at=min(one.not_valid_after_utc for one in chain),
        is_key_open=_is_open_to_others(files.private_key),
    )


def _is_open_to_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        # It has just been replaced, and is read again with the next connection.
        return False


class ServerCertificate:
    """The certificate for new connections, read again whenever its files have changed.

    Files that do not fit together change nothing but the log: connections go on with what was read
    before. Connections that are open keep the certificate that they began with.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises SettingsError as `read_tls_files` does."""
        self._files = files
        # gRPC asks from threads of its own.
        self._lock = Lock()
        # Before the files are read, so that a change in between is seen with the next connection.
        self._state = files.state()
        self._material = read_tls_files(files)
        self._remark()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is opened with."""
        return grpc.dynamic_ssl_server_credentials(
            self._material.configuration,
            self._changed,
            require_client_authentication=self._files.client_ca is not None,
        )

    def _changed(self) -> Any:
        """The `grpc.ServerCertificateConfiguration` for the connection that begins, or None when it
        is the last one's, of which gRPC's types do not know."""
        with self._lock:
            state = self._files.state()
            if state == self._state:
                return None
            self._state = state
            try:
                self._material = read_tls_files(self._files)
            except SettingsError as error:
                log.error("certificate_refused", problem=str(error), goes_on_with="the last one")
                return None
            log.info("certificate_read", expires_at=self._material.expires_at.isoformat())
            self._remark()
            return self._material.configuration

    def _remark(self) -> None:
        if self._material.is_key_open:
            log.warning("private_key_readable_by_others", file=str(self._files.private_key))
        if self._material.expires_at <= datetime.now(UTC):
            log.warning("certificate_expired", expired_at=self._material.expires_at.isoformat())


def _state(path: Path | None) -> object:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise _wrong(setting, path, f"cannot be read: {reason}") from None


def _certificates(setting: str, path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise _wrong(setting, path, "holds no certificate in PEM form") from None


def _check_key(files: TlsFiles, certificate: x509.Certificate, key_pem: bytes) -> None:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise _wrong(
            "PRIVATE_KEY",
            files.private_key,
            "is encrypted; the server has nobody to ask for its"
            " password, so give it the key without one",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong("PRIVATE_KEY", files.private_key, "holds no private key in PEM form") from None
    usable = isinstance(key, rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES)
    )
    if not usable:
        raise _wrong(
            "PRIVATE_KEY",
            files.private_key,
            "is of a kind that gRPC does not serve with; take RSA, or ECDSA with P-256 or P-384",
        )
    ours, theirs = (
        one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for one in (key.public_key(), certificate.public_key())
    )
    if ours != theirs:
        raise _wrong(
            "PRIVATE_KEY",
            files.private_key,
            f"is not the key of the first certificate in {files.certificate}",
        )


def _wrong(setting: str, path: Path, problem: str) -> SettingsError:
    return SettingsError(f"OCTOHOOKS_TLS_{setting} is {path}, which {problem}.")
