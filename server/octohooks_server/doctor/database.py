"""The database of a server: whether it can be had, and what its schema and its clock say."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import StaticPool

from octohooks_server.doctor.findings import Finding, ok, problem, warning
from octohooks_server.doctor.machine import nearest
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.keyring import Keyring
from octohooks_server.settings import Settings
from octohooks_server.store.database import DatabaseRefuses, PostgresDatabase, open_database
from octohooks_server.store.database.threads import ThreadedConnection
from octohooks_server.store.migrations import SchemaState, schema_state
from octohooks_server.store.resealing import missing_keys
from octohooks_server.store.sealing import KEYRING

_SECONDS = 15.0
_NOTICEABLE, _HARMFUL = timedelta(seconds=2), timedelta(seconds=60)


async def look_at_postgresql(settings: Settings) -> list[Finding]:
    """Connects, and reads the schema and the time."""
    database = open_database(
        settings.database, connections=2, encryption_keys=settings.read_encryption_keys()
    )
    assert isinstance(database, PostgresDatabase)
    subject = "database"
    try:
        async with asyncio.timeout(_SECONDS):
            # It says why nobody is let in, if so, and changes nothing.
            await database.run_migration(lambda _: None)
            before = datetime.now(UTC)
            theirs = await database.now()
            ours = before + (datetime.now(UTC) - before) / 2
            async with database.read() as conn:
                schema = await _look_inside(conn)
    except DatabaseRefuses as error:
        return [problem(subject, f"OCTOHOOKS_DATABASE_URL names one that refuses: {error}.")]
    except (OctohooksError, DatabaseError, OSError) as error:
        return [
            problem(
                subject,
                "The database of OCTOHOOKS_DATABASE_URL does not answer, or is busy with a"
                f" migration ({_told(error)}); see whether it runs, and whether this machine may"
                " connect to it.",
            )
        ]
    finally:
        await database.close()
    return [ok(subject, "PostgreSQL answers."), *schema, judge_clock(theirs - ours)]


async def look_at_sqlite(settings: Settings) -> AsyncIterator[Finding]:
    """Reads the file, if there is one, in a way that leaves no trace."""
    subject = "database"
    folder = settings.data_dir
    file = settings.database_file
    place = nearest(folder)
    if not place.is_dir() or not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        yield problem(
            subject,
            f"OCTOHOOKS_DATA_DIR is {folder}, and this user may not write in {place}; change its"
            " owner, or set another one.",
        )
        return
    if not file.exists():
        yield ok(subject, f"The first start makes {file}.")
        return
    if not os.access(file, os.R_OK | os.W_OK):
        yield problem(subject, f"This user may not read and write {file}; change its owner.")
        return
    try:
        async with _read_only(file, settings) as conn:
            schema = await _look_inside(conn)
    except DatabaseError:
        yield problem(
            subject, f"{file} is no database, or it is damaged; put a backup in its place."
        )
        return
    yield ok(subject, f"{file} can be read and written, {file.stat().st_size:,} bytes.")
    if folder.stat().st_mode & 0o007:
        yield warning(
            subject, f"Every user of this machine can enter {folder}; run `chmod o= {folder}`."
        )
    for finding in schema:
        yield finding


def judge_clock(ahead: timedelta, whose: str = "database") -> Finding:
    """What it means that another clock is ahead of this machine's by so much."""
    seconds = abs(ahead.total_seconds())
    if abs(ahead) < _NOTICEABLE:
        return ok("clock", f"It agrees with the {whose}'s, within {seconds:.1f} seconds.")
    side = "behind" if ahead > timedelta(0) else "ahead of"
    text = (
        f"This machine's clock is {seconds:,.0f} seconds {side}"
        f" the {whose}'s; receivers refuse webhooks whose time is minutes off. Set it by NTP."
    )
    return problem("clock", text) if abs(ahead) > _HARMFUL else warning("clock", text)


def _schema(state: SchemaState) -> Finding:
    subject = "schema"
    match state:
        case "current":
            return ok(subject, "It is this release's.")
        case "empty":
            return ok(subject, "The database is empty; the first start makes what it needs.")
        case "older":
            return warning(
                subject,
                "It is an earlier release's; the next start migrates it, or `octohooks migrate`.",
            )
        case "newer":
            return problem(
                subject,
                "It is a later release's, and this one does not start with it; install that"
                " release, or restore a backup from before it.",
            )
        case "foreign":
            return problem(
                subject,
                "The database holds tables of something else; give Octohooks an empty one.",
            )


async def _look_inside(conn: AsyncConnection) -> list[Finding]:
    state = await conn.run_sync(schema_state)
    findings = [_schema(state)]
    missing = await missing_keys(conn) if state == "current" else ()
    if missing:
        findings.append(
            problem(
                "encryption",
                f"OCTOHOOKS_ENCRYPTION_KEYS lacks {', '.join(missing)}, which secrets in the"
                " database are encrypted with, and no server starts without; add it.",
            )
        )
    return findings


@asynccontextmanager
async def _read_only(file: Path, settings: Settings) -> AsyncIterator[AsyncConnection]:
    # Where no server runs there is no log beside the file, and to read as ever would make one.
    running = file.with_name(file.name + "-wal").exists()
    uri = f"file:{quote(str(file))}?mode=ro" + ("" if running else "&immutable=1")
    keyring = Keyring(settings.read_encryption_keys(), os.urandom)
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True, check_same_thread=False),
        poolclass=StaticPool,
        execution_options={KEYRING: keyring},
    )
    connection = ThreadedConnection(engine)
    try:
        async with connection.transaction() as conn:
            yield conn
    finally:
        await connection.close()


def _told(error: Exception) -> str:
    return error.message if isinstance(error, OctohooksError) else type(error).__name__
