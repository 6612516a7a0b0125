"""Verifying webhooks, held against an independent implementation of Standard Webhooks."""

import base64
import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from octohooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = b'{"id":1,"name":"Zo\xc3\xab"}'
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def at(time: datetime) -> Callable[[], datetime]:
    return lambda: time


def webhook(secret: str = SECRET) -> Webhook:
    """A receiver for whom it is `NOW`."""
    return Webhook(secret, now=at(NOW))


def ed25519_secrets() -> tuple[str, str]:
    """A private and a public key, as Octohooks writes them."""
    private = Ed25519PrivateKey.generate()
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return (
        "whsk_" + base64.b64encode(private.private_bytes_raw()).decode(),
        "whpk_" + base64.b64encode(private.public_key().public_bytes(*raw)).decode(),
    )


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("as_text", [False, True])
def test_what_the_reference_implementation_signs_verifies(size: int, as_text: bool) -> None:
    secret = "whsec_" + base64.b64encode(bytes(size)).decode()
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_1", now, BODY.decode()),
    }
    body = BODY.decode() if as_text else BODY
    assert Webhook(secret).verify(body, headers) == {"id": 1, "name": "Zoë"}


def test_the_reference_implementation_verifies_what_is_signed() -> None:
    headers = Webhook(SECRET).sign(BODY)
    assert standardwebhooks.Webhook(SECRET).verify(BODY, headers) == {"id": 1, "name": "Zoë"}


def test_an_example_of_the_specification_verifies() -> None:
    """From the test vectors of Standard Webhooks' own libraries."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    receiver = Webhook(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now=at(datetime.fromtimestamp(1614265330, UTC))
    )
    assert receiver.verify('{"test": 2432232314}', headers) == {"test": 2432232314}


def test_ed25519_signatures_verify_with_the_public_key() -> None:
    private, public = ed25519_secrets()
    headers = webhook(private).sign(BODY, message_id="msg_1")
    assert headers["webhook-signature"].startswith("v1a,")
    assert webhook(public).verify(BODY, headers) == {"id": 1, "name": "Zoë"}
    assert webhook(private).verify(BODY, headers) == {"id": 1, "name": "Zoë"}


def test_ed25519_signs_id_time_and_body() -> None:
    private, _ = ed25519_secrets()
    headers = webhook(private).sign(BODY, message_id="msg_1")
    signature = base64.b64decode(headers["webhook-signature"].removeprefix("v1a,"))
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private.removeprefix("whsk_")))
    content = b"msg_1." + headers["webhook-timestamp"].encode() + b"." + BODY
    key.public_key().verify(signature, content)


def test_another_ed25519_key_is_refused() -> None:
    private, _ = ed25519_secrets()
    _, other = ed25519_secrets()
    with pytest.raises(WebhookVerificationError, match="no signature matches"):
        webhook(other).verify(BODY, webhook(private).sign(BODY))


def test_a_public_key_cannot_sign() -> None:
    _, public = ed25519_secrets()
    with pytest.raises(ValueError, match="cannot sign"):
        webhook(public).sign(BODY)


@pytest.mark.parametrize("mine_comes", ["first", "last"])
def test_one_of_several_signatures_is_enough(mine_comes: str) -> None:
    """As while a rotated secret still signs."""
    private, public = ed25519_secrets()
    headers = webhook().sign(BODY, message_id="msg_1")
    signatures = [
        webhook(OTHER_SECRET).sign(BODY, message_id="msg_1")["webhook-signature"],
        webhook(private).sign(BODY, message_id="msg_1")["webhook-signature"],
        "v9,future",
        "v1,not*base64",
        "nonsense",
    ]
    signatures.insert(0 if mine_comes == "first" else len(signatures), headers["webhook-signature"])
    headers["webhook-signature"] = " ".join(signatures)
    for secret in (SECRET, OTHER_SECRET, public):
        assert webhook(secret).verify(BODY, headers)["id"] == 1


def test_header_names_may_have_any_case() -> None:
    headers = {name.title(): value for name, value in webhook().sign(BODY).items()}
    assert webhook().verify(BODY, headers)["id"] == 1


class MultiHeaders:
    """Headers that are no mapping, as some web frameworks have them."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._items = [*items]

    def items(self) -> Iterable[tuple[str, str]]:
        return self._items


def test_signatures_may_come_in_several_headers() -> None:
    headers = webhook().sign(BODY)
    other = webhook(OTHER_SECRET).sign(BODY)["webhook-signature"]
    for items in (
        [*headers.items(), ("Webhook-Signature", other)],
        [("webhook-signature", other), *headers.items()],
    ):
        assert webhook().verify(BODY, MultiHeaders(items))["id"] == 1


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_request_without_one_of_the_headers_is_refused(missing: str, emptied: bool) -> None:
    headers = webhook().sign(BODY)
    headers[missing] = ""
    if not emptied:
        del headers[missing]
    with pytest.raises(WebhookVerificationError, match=f"{missing} is missing"):
        webhook().verify(BODY, headers)


@given(st.data())
def test_a_change_of_any_byte_is_refused(data: st.DataObject) -> None:
    headers = webhook().sign(BODY, message_id="msg_1")
    part = data.draw(st.sampled_from(["body", "webhook-id", "webhook-timestamp"]))
    original = BODY if part == "body" else headers[part].encode()
    index = data.draw(st.integers(0, len(original) - 1))
    digits = "0123456789" if part == "webhook-timestamp" else "abcXYZ{}"
    byte = data.draw(st.sampled_from(digits)).encode()
    changed = original[:index] + byte + original[index + 1 :]
    body = changed if part == "body" else BODY
    if part != "body":
        headers[part] = changed.decode()
    if changed == original:
        assert webhook().verify(body, headers)
    else:
        with pytest.raises(WebhookVerificationError):
            webhook().verify(body, headers)


def test_another_secret_is_refused() -> None:
    with pytest.raises(WebhookVerificationError, match="no signature matches"):
        webhook(OTHER_SECRET).verify(BODY, webhook().sign(BODY))


@pytest.mark.parametrize("signature", ["v1,", "v1", ",", "v1,AAAA", "v1,é", "v1a,AAAA"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    headers = webhook().sign(BODY) | {"webhook-signature": signature}
    with pytest.raises(WebhookVerificationError, match="no signature matches"):
        webhook().verify(BODY, headers)


def test_the_signature_of_one_algorithm_does_not_pass_as_another() -> None:
    headers = webhook().sign(BODY)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(WebhookVerificationError, match="no signature matches"):
        webhook().verify(BODY, headers)


@pytest.mark.parametrize("minutes", [-5, -4, 0, 4, 5])
def test_a_time_within_the_tolerance_verifies(minutes: int) -> None:
    sent = NOW + timedelta(minutes=minutes)
    assert webhook().verify(BODY, webhook().sign(BODY, sent_at=sent))["id"] == 1


@pytest.mark.parametrize(
    ("seconds", "sentence"), [(-301, "too old"), (301, "in the future"), (-86_400, "too old")]
)
def test_a_time_beyond_the_tolerance_is_refused(seconds: int, sentence: str) -> None:
    headers = webhook().sign(BODY, sent_at=NOW + timedelta(seconds=seconds))
    with pytest.raises(WebhookVerificationError, match=sentence):
        webhook().verify(BODY, headers)


def test_the_tolerance_can_be_chosen() -> None:
    headers = webhook().sign(BODY, sent_at=NOW - timedelta(hours=1))
    assert Webhook(SECRET, timedelta(hours=2), now=at(NOW)).verify(BODY, headers)["id"] == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET, tolerance=timedelta(minutes=59), now=at(NOW)).verify(BODY, headers)


@pytest.mark.parametrize("timestamp", ["now", "-1", "+1", " 1", "1_0", "1.5", "\u0661", "1" * 13])
def test_a_time_that_is_no_number_of_seconds_is_refused(timestamp: str) -> None:
    headers = webhook().sign(BODY) | {"webhook-timestamp": timestamp}
    with pytest.raises(WebhookVerificationError, match="number of seconds"):
        webhook().verify(BODY, headers)


def test_a_body_that_is_not_json_is_refused_though_it_is_signed() -> None:
    with pytest.raises(WebhookVerificationError, match="not JSON"):
        webhook().verify(b"\xff", webhook().sign(b"\xff"))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_a_signed_body_comes_back_parsed(value: Any) -> None:
    body = json.dumps(value)
    assert webhook().verify(body, webhook().sign(body)) == value


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not*base64",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        base64.b64encode(bytes(32)).decode(),
        "whpk_" + base64.b64encode(bytes(31)).decode(),
        "whsk_" + base64.b64encode(bytes(64)).decode(),
        "sk_" + base64.b64encode(bytes(32)).decode(),
    ],
)
def test_what_is_no_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret is") as refused:
        Webhook(secret)
    _, _, encoded = secret.rpartition("_")
    assert not encoded or encoded not in str(refused.value)


def test_a_secret_may_lack_its_padding() -> None:
    assert SECRET.endswith("=")
    receiver = Webhook(SECRET.rstrip("="), now=at(NOW))
    assert receiver.verify(BODY, webhook().sign(BODY))["id"] == 1


@pytest.mark.parametrize("name", ["webhook-id", "webhook-signature", "webhook-timestamp"])
def test_headers_that_are_no_text_are_refused_like_any_others(name: str) -> None:
    """As aiohttp hands them on, with surrogates for the bytes."""
    headers = webhook().sign(BODY)
    headers[name] = b"\xff".decode(errors="surrogateescape") + headers[name]
    with pytest.raises(WebhookVerificationError):
        webhook().verify(BODY, headers)


def test_white_space_around_a_secret_does_not_matter() -> None:
    assert Webhook(f" {SECRET}\n", now=at(NOW)).verify(BODY, webhook().sign(BODY))["id"] == 1


def test_without_cryptography_hmac_works_and_ed25519_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    private, _ = ed25519_secrets()
    for module in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert webhook().verify(BODY, webhook().sign(BODY))["id"] == 1
    with pytest.raises(ImportError, match=r"octohooks\[ed25519\]"):
        webhook(private)
