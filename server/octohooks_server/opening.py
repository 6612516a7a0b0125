"""What a start needs of its database: the place to itself, this release's schema, and its keys."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError

from octohooks_server.errors import ResourceExhausted, Unavailable
from octohooks_server.settings import DatabaseAway, Settings, SettingsError
from octohooks_server.store import resealing
from octohooks_server.store.database import Database, DatabaseRefuses
from octohooks_server.store.migrations import migrate


async def migrated(database: Database, settings: Settings) -> None:
    """Brings the database to this release's schema."""
    place = f"OCTOHOOKS_DATA_DIR is {settings.data_dir}, whose octohooks.db"
    if settings.database_url is not None:
        # Its text may hold a password.
        place = "OCTOHOOKS_DATABASE_URL names a database that"
    try:
        await database.run_migration(migrate)
    except Unavailable:
        raise DatabaseAway(
            f"{place} cannot be written to; it may be away, or another program may hold its lock."
        ) from None
    except DatabaseRefuses as error:
        raise SettingsError(f"{place} refuses this server: {error}.") from None
    except ResourceExhausted as error:
        raise SettingsError(f"{place} cannot be written to: {error.message}.") from None
    except (DatabaseError, CommandError):
        raise SettingsError(f"{place} is no database of this or an earlier release.") from None


async def require_encryption_keys(database: Database) -> None:
    """SettingsError when there are secrets that the keys of this server do not open."""
    async with database.read() as conn:
        missing = await resealing.missing_keys(conn)
    if missing:
        raise SettingsError(
            f"OCTOHOOKS_ENCRYPTION_KEYS lacks {', '.join(missing)}, which secrets in the database"
            " are encrypted with; add the key, or deliveries could not be signed."
        )


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Keeps a second server away from the embedded database, which serves one."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"OCTOHOOKS_DATA_DIR is {data_dir}, which cannot be made a folder: {error.strerror}."
        ) from None
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"OCTOHOOKS_DATA_DIR is {data_dir}, where another server is running already."
            ) from None
        yield
