"""Why an exchange failed: error kinds, and sentences of ours.

The sentences never hold an exception's text, which may quote what the receiver sent.
"""

import ssl
from typing import NamedTuple

from octohooks.v1.attempt_pb2 import ErrorKind


class Failure(NamedTuple):
    """One failure in both forms."""

    kind: ErrorKind.ValueType
    detail: str


class ExchangeFailed(Exception):
    """An exchange came to no whole response, for a reason that a receiver or the network can be."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


NO_FAILURE = Failure(ErrorKind.ERROR_KIND_UNSPECIFIED, "")
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
PROXY_UNREACHABLE = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_FAILED, "The outbound proxy could not be connected to."
)
PROXY_REFUSED = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_FAILED, "The outbound proxy did not make the connection."
)
LOST = Failure(
    ErrorKind.ERROR_KIND_CONNECTION_LOST, "The connection ended before the response did."
)
TLS = Failure(ErrorKind.ERROR_KIND_TLS, "The TLS handshake failed.")
PROTOCOL = Failure(
    ErrorKind.ERROR_KIND_PROTOCOL,
    "What came back is not a valid HTTP response, or its headers are too large.",
)
URL_REFUSED = Failure(
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


def timed_out(seconds: float) -> Failure:
    """The exchange outlasted its timeout of so many seconds."""
    return Failure(
        ErrorKind.ERROR_KIND_TIMEOUT, f"The exchange did not end within {seconds:g} seconds."
    )


def not_connected(error: OSError) -> Failure:
    """What it means that a connection to an address, or TLS over it, could not be made."""
    match error:
        case ssl.SSLCertVerificationError():
            return _bad_certificate(error.verify_code)
        case ssl.SSLError():
            return TLS
        case ConnectionRefusedError():
            return _REFUSED
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return LOST
        case _:
            return _UNREACHABLE


def _bad_certificate(code: int) -> Failure:
    problem = _CERTIFICATE_PROBLEMS.get(code)
    if problem is None:
        return Failure(ErrorKind.ERROR_KIND_TLS, "The certificate is not valid.")
    return Failure(ErrorKind.ERROR_KIND_TLS, f"The certificate {problem}.")
