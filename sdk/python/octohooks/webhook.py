"""Verifying and signing webhooks, after the Standard Webhooks specification.

Messages carry the headers `webhook-id`, `webhook-timestamp` (seconds since 1970) and
`webhook-signature` (one or more signatures, separated by spaces). What is signed is
`<id>.<timestamp>.<body>`.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

_ID = "webhook-id"
_TIMESTAMP = "webhook-timestamp"
_SIGNATURE = "webhook-signature"


class WebhookVerificationError(Exception):
    """A request is not what Octohooks sent with this secret, or not lately: answer it with 400."""


class Headers(Protocol):
    """The headers of a request: a mapping, or what a web framework has in its place."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class _Key(Protocol):
    """Makes and checks the signatures of one algorithm."""

    version: str

    def sign(self, content: bytes) -> bytes: ...

    def is_signature(self, signature: bytes, content: bytes) -> bool: ...


class Webhook:
    """Verifies the requests that arrive at an endpoint:
    `event = Webhook("whsec_...").verify(request.body, request.headers)`."""

    def __init__(
        self,
        secret: str,
        tolerance: timedelta = timedelta(minutes=5),
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Args:
            secret: the endpoint's, as `endpoint.secret` answers it: `whsec_...` for HMAC-SHA256,
                `whpk_...` (the public key) for Ed25519. With `whsk_...` (the private key) Ed25519
                signatures can be made, too. Ed25519 needs the extra `octohooks[ed25519]`.
            tolerance: how far the time of sending may lie from now, either way.
            now: the clock.

        Raises:
            ValueError: the secret is none of these.
            ImportError: it is for Ed25519, and the extra is not installed.
        """
        self._key = _key(secret)
        self._tolerance = tolerance
        self._now = now

    def verify(self, body: bytes | str, headers: Headers) -> Any:
        """Answers the payload, parsed as JSON, if the request was signed with the secret within the
        tolerance.

        Args:
            body: the body as it arrived. Parsed and written again it has other bytes.
            headers: the request's headers; upper and lower case are the same.

        Raises:
            WebhookVerificationError: anything else.
        """
        body = _bytes(body)
        values = _webhook_headers(headers)
        message_id, timestamp = values[_ID], values[_TIMESTAMP]
        self._check_time(timestamp)
        content = _signed_content(message_id, timestamp, body)
        signatures = _signatures(values[_SIGNATURE], self._key.version)
        if not any(self._key.is_signature(signature, content) for signature in signatures):
            raise WebhookVerificationError("no signature matches")
        try:
            return json.loads(body)
        except ValueError as error:
            raise WebhookVerificationError("the body is not JSON") from error

    def sign(
        self, body: bytes | str, *, message_id: str | None = None, sent_at: datetime | None = None
    ) -> dict[str, str]:
        """The headers of a request with this body, for a receiver's own tests. Unless given, the
        message's ID is a new one and the time is now.

        Raises:
            ValueError: the secret is a public key, which cannot sign.
        """
        body = _bytes(body)
        message_id = message_id or f"msg_{uuid.uuid4().hex}"
        timestamp = str(int((sent_at or self._now()).timestamp()))
        signature = self._key.sign(_signed_content(message_id, timestamp, body))
        return {
            _ID: message_id,
            _TIMESTAMP: timestamp,
            _SIGNATURE: f"{self._key.version},{base64.b64encode(signature).decode()}",
        }

    def _check_time(self, timestamp: str) -> None:
        # int() alone takes signs, spaces, underscores and digits of other scripts.
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            raise WebhookVerificationError(f"{_TIMESTAMP} is not a number of seconds")
        age = timedelta(seconds=self._now().timestamp() - int(timestamp))
        if age > self._tolerance:
            raise WebhookVerificationError(f"{_TIMESTAMP} is too old")
        if -age > self._tolerance:
            raise WebhookVerificationError(f"{_TIMESTAMP} lies in the future")


class _HmacSha256:
    version = "v1"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, hashlib.sha256)

    def is_signature(self, signature: bytes, content: bytes) -> bool:
        return hmac.compare_digest(signature, self.sign(content))


class _Ed25519:
    version = "v1a"

    def __init__(self, key: bytes, *, private: bool) -> None:
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric import ed25519
        except ImportError as error:
            raise ImportError(
                "Ed25519 secrets need the package cryptography: pip install 'octohooks[ed25519]'"
            ) from error
        self._invalid_signature = InvalidSignature
        self._private_key: ed25519.Ed25519PrivateKey | None = None
        if private:
            self._private_key = ed25519.Ed25519PrivateKey.from_private_bytes(key)
            self._public_key = self._private_key.public_key()
        else:
            self._public_key = ed25519.Ed25519PublicKey.from_public_bytes(key)

    def sign(self, content: bytes) -> bytes:
        if self._private_key is None:
            raise ValueError("a public key (whpk_) cannot sign; it takes the private one (whsk_)")
        return self._private_key.sign(content)

    def is_signature(self, signature: bytes, content: bytes) -> bool:
        try:
            self._public_key.verify(signature, content)
        except self._invalid_signature:
            return False
        return True


def _key(secret: str) -> _Key:
    prefix, _, encoded = secret.strip().partition("_")
    try:
        # Padding may be missing, as the reference implementations allow.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    match prefix:
        case "whsec" if 24 <= len(key) <= 64:
            return _HmacSha256(key)
        case "whpk" if len(key) == 32:
            return _Ed25519(key, private=False)
        case "whsk" if len(key) == 32:
            return _Ed25519(key, private=True)
    # The value itself stays out of the sentence, since sentences end up in logs.
    raise ValueError(
        "a webhook secret is whsec_ and base64 of 24 to 64 bytes, "
        "or whpk_ or whsk_ and base64 of 32 bytes"
    )


def _webhook_headers(headers: Headers) -> dict[str, str]:
    """The three headers by their lower-case names. Signatures can come in several headers."""
    values: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name == _SIGNATURE and name in values:
            value = f"{values[name]} {value}"
        values[name] = value
    for name in (_ID, _TIMESTAMP, _SIGNATURE):
        if not values.get(name):
            raise WebhookVerificationError(f"the header {name} is missing")
    return values


def _signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return _bytes(f"{message_id}.{timestamp}.") + body


def _bytes(text: bytes | str) -> bytes:
    # Some frameworks turn bytes that are no text into surrogates. They are signed by nobody, and
    # must not raise anything else than what is promised.
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text


def _signatures(header: str, version: str) -> list[bytes]:
    """The signatures of one version; what is none is passed over, as it may be of a later one."""
    signatures = []
    for part in header.split():
        part_version, _, encoded = part.partition(",")
        if part_version == version:
            with contextlib.suppress(ValueError):
                signatures.append(base64.b64decode(encoded, validate=True))
    return signatures
