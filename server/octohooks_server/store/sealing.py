"""Where secrets stand in the database, and the keyring that a connection opens them with.

Whoever reads or writes one of these columns does so by `keyring_of` and the column's place.
"""

import os

from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.keyring import Keyring

# The name under which a database hands its keyring to its connections.
KEYRING = "octohooks_keyring"
# Of a database whose secrets are kept plain.
NO_KEYS = Keyring((), os.urandom)


def keyring_of(conn: AsyncConnection) -> Keyring:
    """The keyring of the database that this connection belongs to."""
    sync = conn.sync_connection
    assert sync is not None
    keyring = sync.get_execution_options()[KEYRING]
    assert isinstance(keyring, Keyring)
    return keyring


Place = tuple[str, ...]


def place_of_headers(environment_id: str, endpoint_id: str) -> Place:
    """Where an endpoint's own headers are kept."""
    return ("endpoints.headers", environment_id, endpoint_id)


def place_of_secret(environment_id: str, endpoint_id: str, number: int) -> Place:
    """Where one of an endpoint's signing secrets is kept."""
    return ("endpoint_secrets.secret", environment_id, endpoint_id, str(number))


def place_of_answer(scope: str, key_hash: bytes) -> Place:
    """Where the answer to an idempotent call is kept, for 12 hours at most."""
    return ("idempotent_answers.answer", scope, key_hash.hex())


def place_of_fact(name: str) -> Place:
    """Where a secret fact about the database is kept."""
    return ("instance.value", name)
