"""Changing the key that secrets in the database are encrypted with."""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from octohooks_server.background.resealing import Resealing
from octohooks_server.maintenance import MaintenanceError, require_file
from octohooks_server.opening import held, migrated
from octohooks_server.rules.keyring import Keyring, key_id
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.store import resealing
from octohooks_server.store.database import Database, open_database


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of a rotation."""

    # The ID of the key that all secrets are under now; None when they are plain.
    key: str | None
    count: int
    # Why secrets stayed as they were.
    left: Sequence[str]


async def rotate(settings: Settings, *, decrypt: bool, told: Callable[[int], None]) -> Rotated:
    """Encrypts every secret with the newest key, or decrypts them all, in small transactions.

    On PostgreSQL servers may run meanwhile. `told(count)` is called after each transaction. What
    a rotation that was cut off has done stays done.

    Raises:
        MaintenanceError: there is no key or no database, or a server runs on the embedded one.
        SettingsError: the database cannot be had.
    """
    keys = settings.read_encryption_keys()
    if not keys:
        raise MaintenanceError(
            "OCTOHOOKS_ENCRYPTION_KEYS is not set; `octohooks encryption key` makes a key."
        )
    _require_database(settings)
    with ExitStack() as stack:
        if settings.database_url is None:
            try:
                stack.enter_context(held(settings.data_dir))
            except SettingsError as error:
                # Two processes that write could damage it: SQLite before 3.51.3 has a race there.
                raise MaintenanceError(
                    f"{error} It encrypts its secrets with its newest key by itself, in the"
                    " background, once it has been started with that key; `octohooks encryption"
                    " status` tells how far it is."
                ) from None
        async with _opened(settings, keys) as database:
            await migrated(database, settings)
            walk = Resealing(database, seals=Keyring(() if decrypt else keys, os.urandom))
            while await walk.step():
                told(walk.count)
    return Rotated(None if decrypt else key_id(keys[0]), walk.count, walk.left)


async def status(settings: Settings) -> Mapping[str | None, int]:
    """How many secrets are encrypted with each key, by its ID; with none, under None.

    Raises:
        MaintenanceError: there is no database.
    """
    _require_database(settings)
    async with _opened(settings, ()) as database, database.read() as conn:
        return await resealing.count_by_key(conn)


def _require_database(settings: Settings) -> None:
    if settings.database_url is None:
        require_file(settings.database_file)


@asynccontextmanager
async def _opened(settings: Settings, keys: Sequence[bytes]) -> AsyncIterator[Database]:
    database = open_database(settings.database, connections=2, encryption_keys=keys)
    try:
        yield database
    finally:
        await database.close()
