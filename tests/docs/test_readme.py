"""The README, followed step by step."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from octohooks.calls import SERVICES

from tests.docs.conftest import Place
from tests.docs.markdown import ROOT, Block, blocks, rows
from tests.docs.printed import Shown
from tests.docs.snippets import Program
from tests.docs.terminals import Terminal, surroundings

README = ROOT / "README.md"
_SERVER, _LISTENER = "127.0.0.1:50051", "8000"


class Terminals:
    """The terminals of a reader, by their numbers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: dict[str, Terminal] = {}
        self.variables = surroundings(
            OCTOHOOKS_LISTEN="127.0.0.1:0", OCTOHOOKS_DATA_DIR=str(folder / "data")
        )

    def __getitem__(self, number: str) -> Terminal:
        if number not in self._all:
            log = self._folder / f"terminal-{number}.log"
            self._all[number] = Terminal(self.variables, log)
        return self._all[number]

    def close(self) -> None:
        for terminal in reversed(self._all.values()):
            terminal.close()


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.close()


# It starts a dozen programs, which on a busy machine takes long.
@pytest.mark.timeout(180)
def test_the_five_minutes_and_the_python_after_them_do_and_print_what_the_readme_shows(
    terminals: Terminals,
) -> None:
    target = f"127.0.0.1:{_free_port()}"
    port = str(_free_port())
    terminals.variables |= {"OCTOHOOKS_LISTEN": target, "OCTOHOOKS_TARGET": target}
    shown = Shown({_SERVER: target, "localhost:50051": target, f":{_LISTENER}/": f":{port}/"})
    program = Program("README.md", shown)
    printed = ""
    staying: Terminal | None = None
    api_key = ""
    steps = 0
    try:
        for block in blocks(README):
            if block.language == "sh":
                terminal = terminals[block.attributes["terminal"]]
                staying = terminal if "stays" in block.attributes else None
                command = _as_in_this_run(block, shown, port)
                if staying:
                    staying.start(command)
                else:
                    printed = terminal.run(command)
                steps += 1
            elif block.language in ("python", "test"):
                staying = None
                code = block.code.replace("AUTH_TOKEN", api_key)
                printed = program.run(Block(block.language, {}, code, block.line))
            elif "diagram" in block.attributes:
                continue
            elif "terminal" in block.attributes:
                terminals[block.attributes["terminal"]].expect(shown, block.code)
            elif staying is not None:
                staying.expect(shown, block.code)
                if not api_key:
                    api_key = staying.find("export OCTOHOOKS_API_KEY=")
            else:
                difference = shown.difference(block.code, printed)
                assert difference is None, f"README.md:{block.line}\n{difference}"
    finally:
        program.close()
    assert steps == 7


def test_the_status_table_has_every_rpc_of_the_contract() -> None:
    listed = {
        (service, rpc.strip("`")) for service, rpcs, _ in _status_rows() for rpc in rpcs.split(", ")
    }
    assert listed == {
        (service.name, method.name) for service in SERVICES for method in service.methods
    }


def test_every_rpc_answers_as_the_status_table_says(place: Place) -> None:
    statuses = {service: status for service, _, status in _status_rows()}
    metadata = (("authorization", f"Bearer {place.api_key}"),)
    with grpc.insecure_channel(place.target) as channel:
        for service in SERVICES:
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                code = _code_of_an_empty_call(channel, path, metadata, method)
                is_served = code is not grpc.StatusCode.UNIMPLEMENTED
                assert is_served == (statuses[service.name] == "works"), path


def _status_rows() -> list[list[str]]:
    found = [row for row in rows(README) if row[0].endswith("Service") and "`" in row[1]]
    assert all(len(row) == 3 for row in found)
    return found


def _code_of_an_empty_call(
    channel: grpc.Channel, path: str, metadata: tuple[tuple[str, str], ...], method: Any
) -> grpc.StatusCode:
    unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    from_server: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    both: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
    try:
        if method.client_streaming:
            list(both(iter(()), metadata=metadata, timeout=10))
        elif method.server_streaming:
            call = from_server(b"", metadata=metadata, timeout=10)
            next(call)
            call.cancel()
        else:
            unary(b"", metadata=metadata, timeout=10)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _as_in_this_run(block: Block, shown: Shown, port: str) -> str:
    command = shown.actual(block.code)
    # What is installed is what is tested, be it older than the file that lists it.
    command = command.replace("make run", "make --old-file=.venv/.installed run")
    return command.replace(f"--port {_LISTENER}", f"--port {port}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
