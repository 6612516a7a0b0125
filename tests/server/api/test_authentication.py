"""Keys are told apart by their hashes alone, in a time that tells nothing of them."""

import hashlib
import hmac
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from octohooks_server.api import authentication
from octohooks_server.api.authentication import Authenticator
from octohooks_server.errors import Unauthenticated
from octohooks_server.store import api_keys
from octohooks_server.store.database import Database
from sqlalchemy.ext.asyncio import AsyncConnection

OPERATOR_KEY = "the-operators-key-of-this-test-alone"


@pytest.mark.one_database_is_enough
async def test_keys_are_compared_as_hashes_and_in_constant_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    looked_up: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    find = api_keys.find_by_hash

    async def find_by_hash(conn: AsyncConnection, key_hash: bytes) -> object:
        looked_up.append(key_hash)
        return await find(conn, key_hash)

    monkeypatch.setattr(authentication, "hmac", SimpleNamespace(compare_digest=compare))
    monkeypatch.setattr(api_keys, "find_by_hash", find_by_hash)
    authenticator = Authenticator(
        database, operator_key=OPERATOR_KEY, clock=lambda: datetime.now(UTC)
    )

    assert (await authenticator.identify(f"Bearer {OPERATOR_KEY}")).is_operator
    wrong = [OPERATOR_KEY[:-1], OPERATOR_KEY + "x", OPERATOR_KEY.upper(), "x"]
    for key in wrong:
        with pytest.raises(Unauthenticated):
            await authenticator.identify(f"Bearer {key}")

    def hashed(key: str) -> bytes:
        return hashlib.sha256(key.encode()).digest()

    assert compared == [(hashed(key), hashed(OPERATOR_KEY)) for key in [OPERATOR_KEY, *wrong]]
    assert looked_up == [hashed(key) for key in wrong]
