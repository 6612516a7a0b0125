"""What an examination of a server's surroundings finds."""

import asyncio
import base64
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from alembic.script import ScriptDirectory
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from octohooks_server.doctor import Finding, examine
from octohooks_server.doctor.database import judge_clock
from octohooks_server.doctor.machine import look_at_space
from octohooks_server.serve import running
from octohooks_server.settings import Settings
from octohooks_server.store.database import open_database
from sqlalchemy import text

from tests.certificates import Authority
from tests.name_server import NameServer
from tests.postgresql import Cluster
from tests.server.tls_files import TlsFolder

Set = Callable[..., None]

KEY = base64.b64encode(bytes(range(32))).decode()
ANOTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()


@pytest.fixture(autouse=True)
async def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[None]:
    """Of a server that lacks nothing; no test sees the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("OCTOHOOKS_")]:
        monkeypatch.delenv(name)
    async with NameServer({"octohooks.invalid": []}) as names:
        for name, value in {
            "DATA_DIR": str(tmp_path),
            "ENCRYPTION_KEYS": KEY,
            "LISTEN": "127.0.0.1:0",
            "MAX_CONNECTIONS": "1",
            "MAX_IN_FLIGHT": "1",
            "NAMESERVERS": names.address,
            "OPERATOR_KEY": "x" * 32,
        }.items():
            monkeypatch.setenv(f"OCTOHOOKS_{name}", value)
        yield


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets settings by their names."""

    def put(**settings: object) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"OCTOHOOKS_{name.upper()}", str(value))

    return put


async def found(clock_url: str | None = None) -> list[Finding]:
    """All that is found."""
    return [finding async for finding in examine(clock_url=clock_url)]


async def found_about(subject: str) -> Finding:
    """The one finding about a subject."""
    (finding,) = [one for one in await found() if one.subject == subject]
    return finding


async def what_is_wrong() -> Mapping[str, str]:
    """The verdicts that are not well, by their subjects."""
    return {one.subject: one.verdict for one in await found() if one.verdict != "ok"}


async def test_all_is_well_before_the_first_start_and_nothing_was_made(tmp_path: Path) -> None:
    assert await what_is_wrong() == {}
    assert {one.subject for one in await found()} == {
        *("settings", "operator key", "encryption", "TLS", "port", "database", "disk", "clock"),
        *("outbound", "names", "open files"),
    }
    assert contents(tmp_path) == {}


async def test_all_wrong_settings_are_told_and_nothing_else_is_looked_at(put: Set) -> None:
    put(lease="soon", workers=0, listen="nowhere")
    findings = await found()
    assert {one.text.partition(" ")[0] for one in findings} == {
        "OCTOHOOKS_LEASE",
        "OCTOHOOKS_WORKERS",
        "OCTOHOOKS_LISTEN",
    }
    assert {one.verdict for one in findings} == {"problem"}


async def test_all_settings_that_contradict_each_other_are_told(put: Set) -> None:
    put(lease=3, role="api", tls_client_ca="ca.pem")
    assert {one.text.partition(" ")[0] for one in await found()} == {
        "OCTOHOOKS_LEASE",
        "OCTOHOOKS_ROLE",
        "OCTOHOOKS_TLS_CLIENT_CA",
    }


async def test_a_misspelt_setting_is_told_with_the_one_that_is_meant(put: Set) -> None:
    put(max_inflight=3, target="localhost:50051")
    first, *_ = await found()
    assert first.verdict == "warning"
    assert "did you mean OCTOHOOKS_MAX_IN_FLIGHT?" in first.text
    assert await what_is_wrong() == {"settings": "warning"}


async def test_missing_keys_are_warned_of(put: Set) -> None:
    put(operator_key="", encryption_keys="")
    assert await what_is_wrong() == {"operator key": "warning", "encryption": "warning"}


async def test_a_file_with_encryption_keys_that_everybody_can_read_is_warned_of(
    put: Set, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    file.chmod(0o644)
    put(encryption_keys="", encryption_keys_file=file)
    assert await what_is_wrong() == {"encryption": "warning"}


@asynccontextmanager
async def server(folder: Path, **settings: Any) -> AsyncIterator[str]:
    """A server that runs, by its address."""
    given: dict[str, Any] = {"listen": "127.0.0.1:0", "data_dir": folder, **settings}
    async with running(Settings(**given)) as server:
        yield server.address


async def test_a_server_that_runs_already_is_well(put: Set, tmp_path: Path) -> None:
    async with server(tmp_path) as address:
        put(listen=address)
        assert await what_is_wrong() == {}
        assert "says that it is well" in (await found_about("port")).text
        assert (await found_about("schema")).text == "It is this release's."


async def test_a_server_that_cannot_serve_is_a_problem(put: Set) -> None:
    sick = grpc.aio.server()
    servicer = health.HealthServicer()
    await servicer.set("", HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, sick)
    port = sick.add_insecure_port("127.0.0.1:0")
    await sick.start()
    put(listen=f"127.0.0.1:{port}")
    assert await what_is_wrong() == {"port": "problem"}
    await sick.stop(None)


async def test_a_port_that_another_program_has_is_a_problem(put: Set) -> None:
    async with program(b"") as address:
        put(listen=address)
        assert await what_is_wrong() == {"port": "problem"}


async def test_the_port_of_metrics_is_free_or_a_server_s(put: Set, tmp_path: Path) -> None:
    put(metrics_listen=f"127.0.0.1:{closed_port()}")
    assert (await found_about("metrics port")).verdict == "ok"
    async with program(b"") as address:
        put(metrics_listen=address)
        assert await what_is_wrong() == {"metrics port": "problem"}
    port = closed_port()
    async with server(tmp_path, metrics_listen=f"127.0.0.1:{port}"):
        put(metrics_listen=f"127.0.0.1:{port}")
        assert "by a server" in (await found_about("metrics port")).text


async def test_an_address_of_another_machine_is_a_problem(put: Set) -> None:
    put(listen="192.0.2.1:50051", allow_plaintext=True)
    assert await what_is_wrong() == {"TLS": "warning", "port": "problem"}


@asynccontextmanager
async def program(answer: bytes) -> AsyncIterator[str]:
    """A program that says this to whoever connects, by its address."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(say, "127.0.0.1", 0)
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.fixture
def files(put: Set, tmp_path: Path) -> TlsFolder:
    """Settings that name a certificate, which is not there yet."""
    folder = tmp_path / "tls"
    folder.mkdir()
    files = TlsFolder(folder)
    put(tls_certificate=files.certificate, tls_private_key=files.key)
    return files


@pytest.mark.parametrize(
    ("days", "verdict"), [(90, "ok"), (13, "warning"), (-1, "problem")], ids=str
)
async def test_a_certificate_is_judged_by_the_days_that_it_has_left(
    files: TlsFolder, days: int, verdict: str
) -> None:
    files.put(Authority.make().issue("example.com", lifetime=timedelta(days=days, hours=1)))
    finding = await found_about("TLS")
    assert finding.verdict == verdict
    assert verdict == "problem" or f"{days} days more" in finding.text


async def test_files_that_make_no_certificate_are_a_problem(files: TlsFolder) -> None:
    assert (await found_about("TLS")).text.startswith("OCTOHOOKS_TLS_CERTIFICATE is ")


async def test_a_private_key_that_everybody_can_read_is_warned_of(files: TlsFolder) -> None:
    files.put(Authority.make().issue("example.com", lifetime=timedelta(days=90)))
    files.key.chmod(0o644)
    assert await what_is_wrong() == {"TLS": "warning"}


async def test_plain_text_for_other_machines_is_a_problem_unless_asked_for(put: Set) -> None:
    put(listen="0.0.0.0:0")
    assert await what_is_wrong() == {"TLS": "problem"}
    put(allow_plaintext=True)
    assert await what_is_wrong() == {"TLS": "warning"}


async def test_a_server_that_shows_another_certificate_than_the_file_s_is_warned_of(
    files: TlsFolder, put: Set, tmp_path: Path
) -> None:
    authority = Authority.make()
    files.put(authority.issue("127.0.0.1", lifetime=timedelta(days=90)))
    async with server(tmp_path, **files.settings()) as address:
        put(listen=address)
        assert await what_is_wrong() == {}
        folder = tmp_path / "another"
        folder.mkdir()
        another = TlsFolder(folder)
        another.put(authority.issue("127.0.0.1", lifetime=timedelta(days=90)))
        put(tls_certificate=another.certificate, tls_private_key=another.key)
        assert await what_is_wrong() == {"port": "warning"}


async def test_a_database_of_this_release_is_well_and_left_as_it_is(
    database_url: str, put: Set, tmp_path: Path
) -> None:
    use(database_url, put)
    before = contents(tmp_path)
    assert await what_is_wrong() == {}
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "problem"),
        ("DROP TABLE alembic_version", "problem"),
    ],
    ids=["newer", "of something else"],
)
async def test_a_schema_that_this_release_cannot_serve_is_a_problem(
    database_url: str, put: Set, change: str, verdict: str
) -> None:
    use(database_url, put)
    database = open_database(database_url)
    async with database.write() as conn:
        await conn.execute(text(change))
    await database.close()
    assert await what_is_wrong() == {"schema": verdict}


async def test_a_missing_key_of_secrets_in_the_database_is_a_problem(
    database_url: str, put: Set, tmp_path: Path
) -> None:
    use(database_url, put)
    url = None if database_url.startswith("sqlite:") else database_url
    async with server(tmp_path, database_url=url, encryption_keys=KEY):
        pass
    assert await what_is_wrong() == {}
    put(encryption_keys=ANOTHER_KEY)
    assert await what_is_wrong() == {"encryption": "problem"}
    put(encryption_keys=f"{ANOTHER_KEY},{KEY}")
    assert await what_is_wrong() == {}


async def test_an_earlier_schema_is_warned_of(
    database_url: str, put: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(database_url, put)
    monkeypatch.setattr(ScriptDirectory, "get_current_head", lambda _: "a later one")
    assert await what_is_wrong() == {"schema": "warning"}


def contents(folder: Path) -> Mapping[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def use(database_url: str, put: Set) -> None:
    """Sets the database; the embedded one is in the folder already."""
    if database_url.startswith("postgresql:"):
        put(database_url=database_url)


async def test_an_empty_postgresql_database_is_well(cluster: Cluster, put: Set) -> None:
    name = await cluster.create_empty()
    put(database_url=cluster.url(name))
    assert await what_is_wrong() == {}
    assert "first start" in (await found_about("schema")).text


async def test_a_database_that_does_not_answer_is_a_problem_and_its_password_is_not_told(
    put: Set,
) -> None:
    put(database_url=f"postgresql://octohooks:secret@127.0.0.1:{closed_port()}/octohooks")
    assert await what_is_wrong() == {"database": "problem"}
    assert "secret" not in str(await found())


async def test_a_database_that_lets_nobody_in_is_a_problem(cluster: Cluster, put: Set) -> None:
    put(database_url=cluster.url("nobody-made-this-one"))
    finding = await found_about("database")
    assert finding.verdict == "problem"
    assert "nobody-made-this-one" in finding.text


async def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "octohooks.db").write_text("This is no database.\n" * 1_000)
    assert await what_is_wrong() == {"database": "problem"}


async def test_a_data_folder_that_cannot_be_one_is_a_problem(put: Set, tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    put(data_dir=tmp_path / "occupied" / "data")
    assert await what_is_wrong() == {"database": "problem"}


@pytest.mark.usefixtures("database_file")
async def test_a_data_folder_that_everybody_can_enter_is_warned_of(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    assert await what_is_wrong() == {"database": "warning"}


@pytest.mark.parametrize(
    ("free", "verdict"), [(1 << 30, "ok"), ((1 << 30) - 1, "warning"), (1 << 26, "problem")]
)
def test_a_disk_is_judged_by_what_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, verdict: str
) -> None:
    usage = type("Usage", (), {"free": free})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert look_at_space(tmp_path / "not" / "there").verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [(1.9, "ok"), (-1.9, "ok"), (3, "warning"), (-60, "warning"), (61, "problem")],
)
def test_a_clock_is_judged_by_how_far_it_is_off(seconds: float, verdict: str) -> None:
    assert judge_clock(timedelta(seconds=seconds)).verdict == verdict


async def test_the_clock_is_compared_with_what_a_url_answers_only_when_asked_for() -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    date = format_datetime(ahead, usegmt=True)
    answer = f"HTTP/1.1 204 No Content\r\nDate: {date}\r\n\r\n".encode()
    async with program(answer) as address:
        *_, finding = await clocks(f"http://{address}/")
    assert finding.verdict == "problem"
    assert "behind" in finding.text
    assert "127.0.0.1" in finding.text


async def test_a_url_that_tells_no_time_is_warned_of() -> None:
    *_, finding = await clocks(f"http://127.0.0.1:{closed_port()}/")
    assert finding.verdict == "warning"


async def clocks(url: str) -> list[Finding]:
    """What is found about the clock."""
    return [one for one in await found(clock_url=url) if one.subject == "clock"]


@pytest.mark.parametrize(
    ("subnets", "verdict"),
    [
        ("10.0.0.0/8,fd00::/8", "ok"),
        ("127.0.0.1", "warning"),
        ("169.254.169.254", "warning"),
        ("0.0.0.0/0", "warning"),
        ("::/0", "warning"),
    ],
)
async def test_subnets_that_hold_this_machine_or_metadata_are_warned_of(
    put: Set, subnets: str, verdict: str
) -> None:
    put(allowed_subnets=subnets)
    assert (await found_about("outbound")).verdict == verdict


async def test_a_name_server_that_does_not_answer_is_a_problem(put: Set) -> None:
    async with NameServer({"octohooks.invalid": []}) as names:
        put(nameservers=f"{names.address},127.0.0.1:{closed_port()}")
        findings = [one for one in await found() if one.subject == "names"]
    assert [one.verdict for one in findings] == ["ok", "problem"]


async def test_a_proxy_that_takes_no_connection_is_a_problem_and_its_password_is_not_told(
    put: Set,
) -> None:
    async with program(b"") as address:
        put(outbound_proxy=f"http://user:secret@{address}")
        assert (await found_about("proxy")).verdict == "ok"
    put(outbound_proxy=f"http://user:secret@127.0.0.1:{closed_port()}")
    assert await what_is_wrong() == {"proxy": "problem"}
    assert "secret" not in str(await found())


async def test_a_limit_of_open_files_below_the_settings_is_warned_of(
    put: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_100))
    put(max_connections=900)
    assert await what_is_wrong() == {}
    put(max_connections=1_000)
    assert await what_is_wrong() == {"open files": "warning"}


def closed_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
