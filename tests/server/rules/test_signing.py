import os
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.signing import (
    ed25519_public_key,
    ed25519_secret_problem,
    generate_ed25519_secret,
    generate_hmac_secret,
    hmac_secret_problem,
    sign,
    signing_key,
)
from standardwebhooks import Webhook, WebhookVerificationError

# A secret, content and signature of the Standard Webhooks specification's reference tests.
REFERENCE_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def verify(secret: str, message_id: str, timestamp: int, body: bytes, signature: str) -> None:
    Webhook(secret).verify(
        body,
        {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        },
    )


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def test_a_signature_is_that_of_the_reference() -> None:
    signature = sign(
        [signing_key(REFERENCE_SECRET)],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(key=st.binary(min_size=24, max_size=64), number=st.integers())
def test_an_independent_library_verifies_what_any_secret_signs(key: bytes, number: int) -> None:
    secret = "whsec_" + b64encode(key).decode()
    body = b'{"number": %d}' % number
    time = now()
    signature = sign([signing_key(secret)], message_id="msg_1", timestamp=time, body=body)
    verify(secret, "msg_1", time, body, signature)
    with pytest.raises(WebhookVerificationError):
        verify(secret, "msg_2", time, body, signature)
    with pytest.raises(WebhookVerificationError):
        verify(secret, "msg_1", time, body + b" ", signature)


def test_while_secrets_overlap_each_verifies_and_the_newest_comes_first() -> None:
    secrets = [generate_hmac_secret(os.urandom) for _ in range(3)]
    keys = [signing_key(secret) for secret in secrets]
    time = now()
    signature = sign(keys, message_id="msg_1", timestamp=time, body=b"{}")
    for secret in secrets:
        verify(secret, "msg_1", time, b"{}", signature)
    alone = sign(keys[:1], message_id="msg_1", timestamp=time, body=b"{}")
    assert signature.split(" ")[0] == alone
    assert len(signature.split(" ")) == 3


def test_the_public_key_verifies_what_the_private_one_signs() -> None:
    secret = generate_ed25519_secret(os.urandom)
    signature = sign([signing_key(secret)], message_id="msg_1", timestamp=7, body=b'{"a":1}')
    version, _, encoded = signature.partition(",")
    public = ed25519_public_key(secret)
    assert version == "v1a"
    assert public.startswith("whpk_")
    Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_"))).verify(
        b64decode(encoded), b'msg_1.7.{"a":1}'
    )


def test_both_kinds_of_key_can_sign_one_message() -> None:
    keys = [
        signing_key(generate_ed25519_secret(os.urandom)),
        signing_key(generate_hmac_secret(os.urandom)),
    ]
    first, second = sign(keys, message_id="msg_1", timestamp=7, body=b"{}").split(" ")
    assert (first.partition(",")[0], second.partition(",")[0]) == ("v1a", "v1")


def test_a_private_key_with_its_public_half_behind_it_is_the_same_key() -> None:
    secret = generate_ed25519_secret(os.urandom)
    seed = b64decode(secret.removeprefix("whsk_"))
    public = b64decode(ed25519_public_key(secret).removeprefix("whpk_"))
    pair = "whsk_" + b64encode(seed + public).decode()
    assert ed25519_public_key(pair) == ed25519_public_key(secret)
    assert ed25519_secret_problem("whsk_" + b64encode(seed + bytes(32)).decode()) is not None


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + b64encode(bytes(23)).decode(),
        "whsec_" + b64encode(bytes(65)).decode(),
        "whsec_" + b64encode(bytes(32)).decode().rstrip("="),
        "whsec_" + b64encode(bytes(32)).decode() + "\n",
        "whsec_ " + b64encode(bytes(32)).decode(),
        "whsec_" + "-_" * 20,
        "whsec_" + "ä" * 40,
        "whsec_" + "A" * 100_000,
        "whsk_" + b64encode(bytes(32)).decode(),
    ],
)
def test_a_bad_hmac_secret_is_refused_without_repeating_it(secret: str) -> None:
    problem = hmac_secret_problem(secret)
    assert problem is not None
    key_material = secret.removeprefix("whsec_")
    assert not key_material or key_material not in problem


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsk_",
        "whsk_" + b64encode(bytes(31)).decode(),
        "whsk_" + b64encode(bytes(33)).decode(),
        "whsec_" + b64encode(bytes(32)).decode(),
    ],
)
def test_a_bad_private_key_is_refused(secret: str) -> None:
    assert ed25519_secret_problem(secret) is not None
    with pytest.raises(ValueError, match="Ed25519"):
        ed25519_public_key(secret)


def test_generated_secrets_are_good_and_never_repeat() -> None:
    hmac_secrets = {generate_hmac_secret(os.urandom) for _ in range(100)}
    private_keys = {generate_ed25519_secret(os.urandom) for _ in range(100)}
    assert len(hmac_secrets) == len(private_keys) == 100
    assert {hmac_secret_problem(secret) for secret in hmac_secrets} == {None}
    assert {ed25519_secret_problem(secret) for secret in private_keys} == {None}


def test_a_key_does_not_show_its_secret() -> None:
    secret = generate_hmac_secret(os.urandom)
    assert secret.removeprefix("whsec_") not in repr(signing_key(secret))


def test_nothing_is_signed_without_a_key() -> None:
    with pytest.raises(ValueError, match="without a key"):
        sign([], message_id="msg_1", timestamp=1, body=b"{}")
