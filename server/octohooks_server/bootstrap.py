"""The first start: what a newcomer finds in an empty database."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from octohooks.v1.environment_pb2 import Environment

from octohooks_server.api.authentication import (
    API_KEY_PREFIX,
    display_prefix,
    hash_key,
    new_key,
)
from octohooks_server.rules.ids import API_KEY, ENVIRONMENT, IdFactory
from octohooks_server.store import api_keys, environments
from octohooks_server.store.database import Database, take_turn

_NAME = "Development"


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What was made; the key can be shown only now."""

    environment: Environment
    api_key: str


async def make_first_environment(
    database: Database, *, ids: IdFactory, clock: Callable[[], datetime]
) -> FirstStart | None:
    """Makes the `Development` environment with a key, unless there ever was an environment."""
    now = clock()
    async with database.write() as conn:
        # Servers that start together ask one after another.
        await take_turn(conn, "first environment")
        if await environments.exists_any(conn):
            return None
        environment = await environments.create(
            conn, id=ids.new(ENVIRONMENT), environment=Environment(name=_NAME), now=now
        )
        key = new_key(API_KEY_PREFIX, os.urandom)
        await api_keys.create(
            conn,
            id=ids.new(API_KEY),
            environment_id=environment.id,
            api_key=ApiKey(name="first key", role=ApiKeyRole.API_KEY_ROLE_FULL),
            key_hash=hash_key(key),
            display_prefix=display_prefix(key),
            expires_at=None,
            now=now,
        )
    return FirstStart(environment, key)
