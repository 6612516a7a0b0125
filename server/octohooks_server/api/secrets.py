"""Endpoint secrets as the API shows, takes and makes them."""

from collections.abc import Callable, Iterable
from datetime import datetime

from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_ED25519, EndpointSecret, SignatureType
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.checks import Checks
from octohooks_server.rules.signing import (
    ed25519_public_key,
    ed25519_secret_problem,
    generate_ed25519_secret,
    generate_hmac_secret,
    hmac_secret_problem,
)
from octohooks_server.store import endpoint_secrets
from octohooks_server.store import proto_values as values
from octohooks_server.store.endpoint_secrets import StoredSecret


def check_secret(checks: Checks, secret: str, signature_type: int) -> None:
    """A secret that a caller gives must be one of the endpoint's type."""
    if not secret:
        return
    if signature_type == SIGNATURE_TYPE_ED25519:
        checks.problem("secret", ed25519_secret_problem(secret))
    else:
        checks.problem("secret", hmac_secret_problem(secret))


def new_secret(signature_type: int, random_bytes: Callable[[int], bytes]) -> str:
    """A generated secret of the type."""
    if signature_type == SIGNATURE_TYPE_ED25519:
        return generate_ed25519_secret(random_bytes)
    return generate_hmac_secret(random_bytes)


async def shown_secrets(
    conn: AsyncConnection, *, environment_id: str, endpoint_id: str, now: datetime
) -> Iterable[EndpointSecret]:
    """The secrets of an endpoint that sign at this moment, newest first, as the API shows them."""
    live = await endpoint_secrets.live_of(conn, endpoint_id, environment_id=environment_id, now=now)
    return [_shown(secret) for secret in live]


def _shown(secret: StoredSecret) -> EndpointSecret:
    """A private key never leaves Octohooks; its public half verifies."""
    is_key_pair = secret.signature_type == SIGNATURE_TYPE_ED25519
    return EndpointSecret(
        secret=ed25519_public_key(secret.secret) if is_key_pair else secret.secret,
        signature_type=SignatureType.ValueType(secret.signature_type),
        create_time=values.timestamp(secret.created_at),
        expire_time=values.timestamp(secret.expires_at),
    )
