"""The secrets that messages to an endpoint are signed with: given, generated, rotated."""

import base64
import os
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.duration_pb2 import Duration
from octohooks import AsyncOctohooks, Webhook, WebhookVerificationError
from octohooks.v1.endpoint_pb2 import (
    SIGNATURE_TYPE_ED25519,
    SIGNATURE_TYPE_HMAC_SHA256,
    Endpoint,
    EndpointSecret,
)
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    GetEndpointSecretRequest,
    ListEndpointsRequest,
    RotateEndpointSecretRequest,
)

from tests.receivers import Receiver, Request
from tests.server.api.calls import Api
from tests.server.api.home import Home
from tests.server.api.serving import Clock, serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("acme")]

URL = "https://example.com/hook"
NEVER = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
DAY = 24 * 3600


def secret_of(prefix: str, size: int) -> str:
    return prefix + base64.b64encode(os.urandom(size)).decode()


HMAC_SECRET, OTHER_HMAC_SECRET = secret_of("whsec_", 32), secret_of("whsec_", 32)
ED25519_SECRET = secret_of("whsk_", 32)

WRONG_SECRETS = [
    pytest.param({}, "hello", id="no prefix"),
    pytest.param({}, "whsec_%%%", id="no base64"),
    pytest.param({}, secret_of("whsec_", 23), id="23 bytes"),
    pytest.param({}, secret_of("whsec_", 65), id="65 bytes"),
    pytest.param({}, ED25519_SECRET, id="a private key for HMAC"),
    pytest.param({"signature_type": SIGNATURE_TYPE_ED25519}, HMAC_SECRET, id="HMAC for Ed25519"),
    pytest.param(
        {"signature_type": SIGNATURE_TYPE_ED25519},
        secret_of("whsk_", 31),
        id="a private key of 31 bytes",
    ),
    pytest.param(
        {"signature_type": SIGNATURE_TYPE_ED25519}, secret_of("whpk_", 32), id="a public key"
    ),
]


def public_half(secret: str) -> str:
    seed = base64.b64decode(secret.removeprefix("whsk_"))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return "whpk_" + base64.b64encode(public).decode()


def rotation(endpoint: str, *, secret: str = "", overlap: float | None = None) -> Any:
    request = RotateEndpointSecretRequest(application="acme", endpoint=endpoint, secret=secret)
    if overlap is not None:
        request.overlap.FromTimedelta(timedelta(seconds=overlap))
    return request


async def delivered(octohooks: AsyncOctohooks, receiver: Receiver) -> Request:
    """What arrives of a message that is sent now."""
    await octohooks.message.create("acme", event_type="e", payload={"a": 1})
    return await receiver.next_request()


def verifies(request: Request, secret: str, sent_at: Any = None) -> bool:
    clock: dict[str, Any] = {} if sent_at is None else {"now": lambda: sent_at}
    webhook = Webhook(secret, **clock)
    try:
        return bool(webhook.verify(request.body, dict(request.headers)) == {"a": 1})
    except WebhookVerificationError:
        return False


@pytest.mark.parametrize("size", [24, 64])
async def test_a_given_secret_signs(
    octohooks: AsyncOctohooks, receiver: Receiver, size: int
) -> None:
    secret = secret_of("whsec_", size)
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, secret=secret)

    (answered,) = await octohooks.endpoint.secret("acme", endpoint.id)

    assert answered == EndpointSecret(
        secret=secret,
        signature_type=SIGNATURE_TYPE_HMAC_SHA256,
        create_time=endpoint.create_time,
    )
    request = await delivered(octohooks, receiver)
    headers = {name.lower(): value for name, value in request.headers}
    assert standardwebhooks.Webhook(secret).verify(request.body, headers) == {"a": 1}


async def test_a_generated_secret_is_answered_and_signs(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, uid="main")
    other = await octohooks.endpoint.create("acme", url=URL, disabled=True)

    (secret,) = await octohooks.endpoint.secret("acme", "main")

    assert len(base64.b64decode(secret.secret.removeprefix("whsec_"))) >= 24
    assert [secret] == await octohooks.endpoint.secret("acme", endpoint.id)
    assert [secret] != await octohooks.endpoint.secret("acme", other.id)
    assert verifies(await delivered(octohooks, receiver), secret.secret)


@pytest.mark.parametrize("given", [ED25519_SECRET, None], ids=["given", "generated"])
async def test_of_a_key_pair_the_public_half_alone_is_shown_and_verifies(
    octohooks: AsyncOctohooks, receiver: Receiver, given: str | None
) -> None:
    endpoint = await octohooks.endpoint.create(
        "acme", url=receiver.url, signature_type="ed25519", secret=given
    )

    (secret,) = await octohooks.endpoint.secret("acme", endpoint.id)

    assert secret.secret.startswith("whpk_")
    assert secret.signature_type == SIGNATURE_TYPE_ED25519
    if given is not None:
        assert secret.secret == public_half(given)
    request = await delivered(octohooks, receiver)
    assert request.header("webhook-signature").startswith("v1a,")
    assert verifies(request, secret.secret)


@pytest.mark.parametrize(("values", "secret"), WRONG_SECRETS)
async def test_creation_refuses_a_secret_that_cannot_sign(
    api: Api, values: dict[str, Any], secret: str
) -> None:
    refusal = await api.refusal(
        CreateEndpointRequest(
            application="acme", endpoint=Endpoint(url=URL, **values), secret=secret
        )
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["secret"]
    assert secret not in str(refusal.status)
    assert not (await api(ListEndpointsRequest(application="acme"))).endpoints


@pytest.mark.parametrize(("values", "secret"), WRONG_SECRETS)
async def test_a_rotation_refuses_a_secret_that_cannot_sign(
    api: Api, octohooks: AsyncOctohooks, values: dict[str, Any], secret: str
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main", **values)
    before = await octohooks.endpoint.secret("acme", "main")

    refusal = await api.refusal(rotation("main", secret=secret))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["secret"]
    assert await octohooks.endpoint.secret("acme", "main") == before


@pytest.mark.parametrize(
    "overlap",
    [
        pytest.param(Duration(seconds=-1), id="a negative overlap"),
        pytest.param(Duration(seconds=7 * DAY + 1), id="more than 7 days"),
        pytest.param(Duration(seconds=7 * DAY, nanos=-5), id="not well-formed"),
        pytest.param(Duration(seconds=10**14), id="beyond all durations"),
    ],
)
async def test_a_rotation_refuses_an_overlap_out_of_range(
    api: Api, octohooks: AsyncOctohooks, overlap: Duration
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")

    refusal = await api.refusal(
        RotateEndpointSecretRequest(application="acme", endpoint="main", overlap=overlap)
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["overlap"]
    assert len(await octohooks.endpoint.secret("acme", "main")) == 1


async def test_while_the_overlap_lasts_every_live_secret_signs_newest_first(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, secret=HMAC_SECRET)

    answer = await api(rotation(endpoint.id, secret=OTHER_HMAC_SECRET, overlap=7 * DAY))

    new, old = answer.secrets
    assert [new.secret, old.secret] == [OTHER_HMAC_SECRET, HMAC_SECRET]
    assert not new.HasField("expire_time")
    assert old.expire_time.ToDatetime() - new.create_time.ToDatetime() == timedelta(days=7)
    assert await octohooks.endpoint.secret("acme", endpoint.id) == [new, old]
    request = await delivered(octohooks, receiver)
    first, second = request.header("webhook-signature").split(" ")
    sent = {"webhook-id": request.header("webhook-id")}
    sent |= {"webhook-timestamp": request.header("webhook-timestamp")}
    for secret, signature in ((OTHER_HMAC_SECRET, first), (HMAC_SECRET, second)):
        headers = {**sent, "webhook-signature": signature}
        assert standardwebhooks.Webhook(secret).verify(request.body, headers)


async def test_a_rotation_without_overlap_ends_the_old_secret_at_once(
    api: Api, octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, secret=HMAC_SECRET)

    (secret,) = (await api(rotation(endpoint.id, overlap=0))).secrets

    assert secret.secret != HMAC_SECRET
    request = await delivered(octohooks, receiver)
    assert verifies(request, secret.secret)
    assert not verifies(request, HMAC_SECRET)


async def test_the_overlap_is_24_hours_unless_set(home: Home, receiver: Receiver) -> None:
    clock = Clock()
    async with serving(home, clock=clock) as server:
        octohooks = (await server.new_tenant()).octohooks
        await octohooks.application.create(uid="acme")
        endpoint = await octohooks.endpoint.create("acme", url=receiver.url, secret=HMAC_SECRET)
        await octohooks.endpoint.rotate_secret("acme", endpoint.id, secret=OTHER_HMAC_SECRET)

        clock.advance(hours=23.9)
        assert len(await octohooks.endpoint.secret("acme", endpoint.id)) == 2
        assert verifies(await delivered(octohooks, receiver), HMAC_SECRET, clock())

        clock.advance(hours=0.2)
        (secret,) = await octohooks.endpoint.secret("acme", endpoint.id)
        assert secret.secret == OTHER_HMAC_SECRET
        request = await delivered(octohooks, receiver)
        assert verifies(request, OTHER_HMAC_SECRET, clock())
        assert not verifies(request, HMAC_SECRET, clock())


async def test_a_key_pair_is_rotated_like_a_secret(api: Api, octohooks: AsyncOctohooks) -> None:
    await octohooks.endpoint.create(
        "acme", url=URL, uid="main", signature_type="ed25519", secret=ED25519_SECRET
    )

    new, old = (await api(rotation("main"))).secrets

    assert old.secret == public_half(ED25519_SECRET)
    assert new.secret.startswith("whpk_")
    assert new.secret != old.secret


async def test_another_signature_type_brings_a_new_secret_at_once_without_an_overlap(
    octohooks: AsyncOctohooks, receiver: Receiver
) -> None:
    endpoint = await octohooks.endpoint.create("acme", url=receiver.url, secret=HMAC_SECRET)

    await octohooks.endpoint.update("acme", endpoint.id, signature_type="ed25519")

    (secret,) = await octohooks.endpoint.secret("acme", endpoint.id)
    assert secret.signature_type == SIGNATURE_TYPE_ED25519
    request = await delivered(octohooks, receiver)
    assert verifies(request, secret.secret)
    assert not verifies(request, HMAC_SECRET)


async def test_another_signature_type_ends_the_overlap_of_earlier_secrets_too(
    octohooks: AsyncOctohooks,
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    await octohooks.endpoint.rotate_secret("acme", "main")

    await octohooks.endpoint.update("acme", "main", signature_type="ed25519")

    assert len(await octohooks.endpoint.secret("acme", "main")) == 1


async def test_other_updates_leave_the_secret_alone(octohooks: AsyncOctohooks) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")
    before = await octohooks.endpoint.secret("acme", "main")

    await octohooks.endpoint.update("acme", "main", description="new", signature_type="hmac_sha256")

    assert await octohooks.endpoint.secret("acme", "main") == before


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(
            lambda app, ep: GetEndpointSecretRequest(application=app, endpoint=ep), id="get"
        ),
        pytest.param(
            lambda app, ep: RotateEndpointSecretRequest(application=app, endpoint=ep), id="rotate"
        ),
    ],
)
@pytest.mark.parametrize(
    ("application", "endpoint", "code", "about"),
    [
        pytest.param("", "main", "INVALID_ARGUMENT", ["application"], id="no application"),
        pytest.param("acme", "", "INVALID_ARGUMENT", ["endpoint"], id="no endpoint"),
        pytest.param("nobody", "main", "NOT_FOUND", ("application", "nobody"), id="unknown one"),
        pytest.param("acme", "none", "NOT_FOUND", ("endpoint", "none"), id="unknown UID"),
        pytest.param("acme", NEVER, "NOT_FOUND", ("endpoint", NEVER), id="unknown ID"),
    ],
)
async def test_an_endpoint_has_to_be_named_and_to_exist(
    api: Api,
    octohooks: AsyncOctohooks,
    request_of: Any,
    application: str,
    endpoint: str,
    code: str,
    about: Any,
) -> None:
    await octohooks.endpoint.create("acme", url=URL, uid="main")

    refusal = await api.refusal(request_of(application, endpoint))

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about
