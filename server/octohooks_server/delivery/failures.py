"""Why an exchange failed: from the exceptions of aiohttp to error kinds and sentences of ours.

The sentences never hold an exception's text, which may quote what the receiver sent.
"""

import ssl
from typing import NamedTuple

import aiohttp
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError
from octohooks.v1.attempt_pb2 import ErrorKind

from octohooks_server.delivery.connector import AddressBlocked
from octohooks_server.delivery.resolver import NameNotResolved


class UrlRefused(Exception):
    """The URL cannot be posted to, by the rules of the time when it is used."""


class Failure(NamedTuple):
    """One failure in both forms."""

    kind: ErrorKind.ValueType
    detail: str


TIMEOUT = Failure(
    ErrorKind.ERROR_KIND_TIMEOUT, "The exchange did not end within {seconds:g} seconds."
)
NAME_NOT_RESOLVED = Failure(
    ErrorKind.ERROR_KIND_NAME_NOT_RESOLVED, "The host name could not be resolved to an address."
)
ADDRESS_BLOCKED = Failure(
    ErrorKind.ERROR_KIND_ADDRESS_BLOCKED,
    "The address is not on the public Internet and is not allowed; no connection was made.",
)
_REFUSED = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_REFUSED, "Nothing accepts connections at the address and port."
)
_UNREACHABLE = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_FAILED, "No connection to the address could be made."
)
_PROXY_UNREACHABLE = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_FAILED, "The outbound proxy could not be connected to."
)
_PROXY_REFUSED = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_FAILED, "The outbound proxy did not make the connection."
)
_LOST = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_LOST, "The connection ended before the response did."
)
_TLS = Failure(ErrorKind.ERROR_KIND_TLS, "The TLS handshake failed.")
PROTOCOL = Failure(
    ErrorKind.ERROR_KIND_PROTOCOL,
    "What came back is not a valid HTTP response, or its headers are too large.",
)
_URL_REFUSED = Failure(
    ErrorKind.ERROR_KIND_PROTOCOL, "The endpoint's URL is not one that can be posted to."
)

# OpenSSL's X509_V_ERR_ codes, as far as the owner of a receiver can tell them apart.
_CERTIFICATE_PROBLEMS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "leads to an unknown root",
    20: "comes from an unknown issuer",
    21: "comes from an unknown issuer",
    23: "was revoked",
    62: "was made for another name",
    64: "was made for another address",
}


def failure_of(error: Exception, *, proxied: bool) -> Failure | None:
    """What an exception of the exchange means; None when it is none that a receiver can cause.

    `proxied` is whether all connections are made to the outbound proxy.
    """
    match error:
        case AddressBlocked():
            return ADDRESS_BLOCKED
        case NameNotResolved():
            return NAME_NOT_RESOLVED
        case aiohttp.ClientConnectorCertificateError():
            return _bad_certificate(error.certificate_error)
        case aiohttp.ClientConnectorSSLError():
            return _TLS
        case aiohttp.ClientHttpProxyError():
            return _PROXY_REFUSED
        case aiohttp.ClientProxyConnectionError():
            return _PROXY_UNREACHABLE
        case aiohttp.ClientConnectorDNSError():
            return _PROXY_UNREACHABLE if proxied else NAME_NOT_RESOLVED
        case aiohttp.ClientConnectorError():
            return _connection_failure(error.os_error)
        case aiohttp.ClientPayloadError():
            ended = isinstance(error.__cause__, ContentLengthError | TransferEncodingError)
            return _LOST if ended else PROTOCOL
        case aiohttp.ClientResponseError():
            # A made-up status 400: what came is not HTTP.
            return PROTOCOL
        case aiohttp.ClientConnectionError():
            return _TLS if isinstance(error.__cause__, ssl.SSLError) else _LOST
        case UrlRefused():
            return _URL_REFUSED
        case _:
            return None


def _connection_failure(error: OSError) -> Failure:
    match error:
        case AddressBlocked():
            return ADDRESS_BLOCKED
        case ConnectionRefusedError():
            return _REFUSED
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return _LOST
        case _:
            return _UNREACHABLE


def _bad_certificate(error: Exception) -> Failure:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else None
    problem = _CERTIFICATE_PROBLEMS.get(code or 0)
    if problem is None:
        return Failure(ErrorKind.ERROR_KIND_TLS, "The certificate is not valid.")
    return Failure(ErrorKind.ERROR_KIND_TLS, f"The certificate {problem}.")
