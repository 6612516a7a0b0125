"""The operator's commands: saving the database, and outgrowing it."""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import ServerProcess, environment
from tests.postgresql import Cluster
from tests.receivers import Receiver, respond


@pytest.fixture
async def database_url(cluster: Cluster) -> AsyncIterator[str]:
    """An empty PostgreSQL database of the test's own."""
    name = await cluster.create_empty()
    yield cluster.url(name)
    await cluster.drop(name)


async def run(*command: str, data_dir: Path, **settings: str) -> tuple[int, str]:
    """Runs `octohooks` with a server's settings; answers its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "octohooks_cli",
        *command,
        env=environment(data_dir, **settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def database_file(server: ServerProcess) -> Path:
    """The file of a server's embedded database."""
    return server.data_dir / "octohooks.db"


async def test_a_backup_is_made_while_the_server_runs_and_a_server_starts_from_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    async with server.connect() as client:
        await client.application.create(uid="before")
        code, printed = await run("backup", str(tmp_path / "saved.db"), data_dir=server.data_dir)
        assert (code, printed.startswith("Saved ")) == (0, True), printed
        await client.application.create(uid="after")
    await server.stop()

    for file in server.data_dir.glob("octohooks.db*"):
        file.unlink()
    (tmp_path / "saved.db").rename(database_file(server))
    await server.restart()
    async with server.connect() as client:
        assert [one.uid async for one in client.application.list()] == ["before"]


async def test_a_backup_replaces_nothing_and_tells_what_is_missing(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    there = tmp_path / "there"
    there.write_text("mine")
    code, printed = await run("backup", str(there), data_dir=server.data_dir)
    assert (code, there.read_text()) == (1, "mine")
    assert "exists already" in printed
    code, printed = await run("backup", str(tmp_path / "no" / "folder"), data_dir=server.data_dir)
    assert (code, "could not be written" in printed) == (1, True)
    code, printed = await run("backup", str(tmp_path / "new"), data_dir=tmp_path / "nowhere")
    assert (code, "There is no database" in printed) == (1, True)
    code, printed = await run(
        "backup", "new", data_dir=tmp_path, database_url="postgresql://localhost/octohooks"
    )
    assert (code, "pg_dump" in printed) == (1, True)


async def test_outgrowing_the_embedded_database_is_a_command(
    start_server: StartServer, database_url: str
) -> None:
    """Keys, tokens and what waits stay as they are: servers go on where the old one stopped."""
    old = await start_server()
    async with Receiver(respond(500), respond(200)) as receiver:
        async with old.connect() as client:
            await client.application.create(uid="acme", metadata={"plan": "gold"})
            await client.endpoint.create("acme", url=receiver.url, retry_schedule=[0, 1])
            async with client.attempt.watch() as watch:
                await watch.wait_until_live()
                message = await client.message.create("acme", event_type="a.b", payload={"n": 1})
                failed = (await anext(watch)).attempt
                token = watch.resume_token
        await old.stop()
        code, printed = await run(
            "import", str(database_file(old)), data_dir=old.data_dir, database_url=database_url
        )
        assert (code, "Start servers with this database now." in printed) == (0, True), printed

        await old.restart(database_url=database_url)
        async with (
            old.connect() as client,
            client.attempt.watch(resume_token=token) as watch,
        ):
            retried = (await anext(watch)).attempt
            assert (retried.message, retried.number) == (message.id, 2)
            assert retried.response_status == 200
            assert (await client.application.get("acme")).metadata == {"plan": "gold"}
            listed = [one.id async for one in client.attempt.list()]
    assert listed == [retried.id, failed.id]


@pytest.mark.timeout(240)
async def test_an_import_that_would_mix_or_lose_something_is_refused(
    start_server: StartServer, database_url: str, tmp_path: Path
) -> None:
    running = await start_server()
    file = str(database_file(running))
    here = running.data_dir

    code, printed = await run("import", file, data_dir=here)
    assert (code, "OCTOHOOKS_DATABASE_URL is not set" in printed) == (1, True)
    code, printed = await run("import", file, data_dir=here, database_url=database_url)
    assert (code, "A server is running" in printed) == (1, True), printed
    await running.stop()
    code, printed = await run(
        "import", str(tmp_path / "none"), data_dir=here, database_url=database_url
    )
    assert (code, "There is no database" in printed) == (1, True)
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100)
    code, printed = await run(
        "import", str(tmp_path / "text"), data_dir=here, database_url=database_url
    )
    assert (code, "no database of Octohooks" in printed) == (1, True), printed
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '0000'")
        conn.commit()
        code, printed = await run("import", file, data_dir=here, database_url=database_url)
        assert (code, "of another release" in printed) == (1, True), printed
        conn.execute("UPDATE alembic_version SET version_num = '0002'")
        conn.commit()
    copied = Path(shutil.copy(file, tmp_path / "copied.db"))
    code, printed = await run("import", str(copied), data_dir=here, database_url=database_url)
    assert (code, "copied.db-wal" in printed) == (1, True), printed
    other = await start_server(database_url=database_url)
    await other.stop()
    code, printed = await run("import", file, data_dir=here, database_url=database_url)
    assert (code, "only an empty one" in printed) == (1, True), printed


async def test_a_schema_is_migrated_by_a_command_or_by_many_servers_that_start_together(
    start_server: StartServer, cluster: Cluster, tmp_path: Path
) -> None:
    names = [await cluster.create_empty() for _ in range(2)]
    for name in names:
        url = cluster.url(name)
        if name == names[0]:
            code, printed = await run("migrate", data_dir=tmp_path, database_url=url)
            assert (code, printed) == (0, "The database is at schema 0002.\n")
        servers = await asyncio.gather(*(start_server(database_url=url) for _ in range(3)))
        # One of them has made the first environment.
        assert len([server for server in servers if server.api_key]) == 1
        for server in servers:
            assert await server.stop() == 0
        await cluster.drop(name)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_that_is_newer_than_the_server_is_refused_and_left_alone(
    start_server: StartServer, database_url: str, tmp_path: Path, kind: str
) -> None:
    if kind == "sqlite":
        server = await start_server()
        await server.stop()
        with closing(sqlite3.connect(database_file(server))) as conn:
            conn.execute("UPDATE alembic_version SET version_num = '9999'")
            conn.commit()
        code, printed = await run("serve", data_dir=server.data_dir)
        assert "OCTOHOOKS_DATA_DIR" in printed
    else:
        server = await start_server(database_url=database_url)
        await server.stop()
        postgresql = await asyncpg.connect(database_url)
        await postgresql.execute("UPDATE alembic_version SET version_num = '9999'")
        await postgresql.close()
        code, printed = await run("serve", data_dir=tmp_path, database_url=database_url)
        assert "OCTOHOOKS_DATABASE_URL" in printed
        assert database_url not in printed
    assert code == 2
    assert "no database of this or an earlier release" in printed


async def test_a_database_that_lets_nobody_in_is_told_in_one_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    url = cluster.url("nobody_made_it")
    code, printed = await run("serve", data_dir=tmp_path, database_url=url)
    assert (code, printed.count("\n")) == (2, 1), printed
    assert "does not exist" in printed
