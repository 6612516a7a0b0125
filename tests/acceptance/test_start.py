"""What a start prints, makes and refuses."""

import asyncio
from pathlib import Path

import pytest
from octohooks import Unauthenticated

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import OPERATOR_KEY, ServerProcess
from tests.acceptance.refused_start import assert_start_refused
from tests.certificates import Authority
from tests.server.tls_files import TlsFolder


async def test_the_first_start_prints_a_key_that_works_and_the_second_prints_none(
    start_server: StartServer,
) -> None:
    """And neither logs a key, at whatever level."""
    server = await start_server(log_level="debug")
    key = server.api_key
    assert server.text().count(key) == 1
    assert "Development" in server.text()
    async with server.connect(key) as client:
        await client.application.create(uid="made-before", name="A customer")
    assert await server.stop() == 0
    logged = [line for line in server.output if line.startswith("{")]
    assert logged
    assert not [line for line in logged if key in line or OPERATOR_KEY in line]
    await server.start()
    assert "OCTOHOOKS_API_KEY" not in server.text()
    assert "Development" not in server.text()
    async with server.connect(key) as client:
        assert (await client.application.get("made-before")).uid == "made-before"
    async with server.connect(OPERATOR_KEY) as operator:
        assert [one.name async for one in operator.environment.list()] == ["Development"]


async def test_a_start_without_an_operator_s_key_makes_one_that_is_good_until_the_stop(
    start_server: StartServer,
) -> None:
    server = await start_server(operator_key="")
    (first,) = _operator_keys(server)
    async with server.connect(first) as operator:
        assert [one.name async for one in operator.environment.list()] == ["Development"]
    await server.stop()
    await server.start()
    (second,) = _operator_keys(server)
    async with server.connect(second) as operator:
        assert [one.name async for one in operator.environment.list()] == ["Development"]
    async with server.connect(first) as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.environment.create("Another")


def test_a_wrong_setting_stops_the_start_with_one_sentence_that_names_it(tmp_path: Path) -> None:
    """Each setting's own are in tests/server/test_main.py."""
    assert_start_refused(tmp_path, "OCTOHOOKS_REQUEST_TIMEOUT", request_timeout="31")


def test_an_address_that_cannot_be_listened_at_stops_the_start_with_a_sentence(
    tmp_path: Path,
) -> None:
    assert_start_refused(tmp_path, "OCTOHOOKS_LISTEN", listen="no-such-host.invalid:0")


def test_an_address_that_other_machines_reach_in_the_clear_stops_the_start_with_a_sentence(
    tmp_path: Path,
) -> None:
    sentence = assert_start_refused(tmp_path / "data", "OCTOHOOKS_LISTEN", listen="0.0.0.0:0")
    assert "OCTOHOOKS_TLS_CERTIFICATE" in sentence
    assert "OCTOHOOKS_ALLOW_PLAINTEXT" in sentence
    assert not (tmp_path / "data").exists()


def test_a_certificate_that_cannot_be_read_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "server.pem")
    assert_start_refused(
        tmp_path / "data",
        "OCTOHOOKS_TLS_CERTIFICATE",
        tls_certificate=missing,
        tls_private_key=missing,
    )


def test_a_data_folder_that_cannot_be_one_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "occupied"
    file.touch()
    assert_start_refused(file / "data", "OCTOHOOKS_DATA_DIR")


def test_a_data_folder_whose_database_is_none_stops_the_start_with_a_sentence(
    tmp_path: Path,
) -> None:
    (tmp_path / "octohooks.db").write_text("This is no database.\n" * 1_000)
    assert_start_refused(tmp_path, "OCTOHOOKS_DATA_DIR")


async def test_a_second_server_on_one_folder_is_refused_and_the_first_goes_on(
    server: ServerProcess,
) -> None:
    assert_start_refused(server.data_dir, "OCTOHOOKS_DATA_DIR")
    async with server.connect() as client:
        await client.application.create(name="A customer")


async def test_a_second_server_at_one_port_is_refused_and_the_first_goes_on(
    server: ServerProcess, tmp_path: Path
) -> None:
    assert_start_refused(tmp_path, "OCTOHOOKS_LISTEN", listen=server.address)
    async with server.connect() as client:
        await client.application.create(name="A customer")


async def test_what_speaks_no_tls_is_disconnected_and_writes_no_log(
    start_server: StartServer, tmp_path: Path
) -> None:
    files = TlsFolder(tmp_path)
    files.put(Authority.make().issue("127.0.0.1"))
    server = await start_server(
        tls_certificate=str(files.certificate), tls_private_key=str(files.key)
    )
    before = len(server.output)
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    assert await server.stop() == 0
    assert [line for line in server.output[before:] if not line.startswith("{")] == []


def _operator_keys(server: ServerProcess) -> list[str]:
    return [line.strip() for line in server.output if line.strip().startswith("octo_operator_")]
