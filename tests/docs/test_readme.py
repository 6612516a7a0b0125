"""The README, followed step by step."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from octohooks.calls import SERVICES

from tests.docs.conftest import Place
from tests.docs.markdown import ROOT, blocks, rows
from tests.docs.printed import Shown
from tests.docs.terminals import Terminals, free_port, surroundings
from tests.docs.walkthrough import Walkthrough

README = ROOT / "README.md"
_SERVER, _LISTENER = "127.0.0.1:50051", "8000"


# It starts a dozen programs, which on a busy machine takes long.
@pytest.mark.timeout(180)
def test_the_five_minutes_and_the_python_after_them_do_and_print_what_the_readme_shows(
    tmp_path: Path,
) -> None:
    target = f"127.0.0.1:{free_port()}"
    port = str(free_port())
    variables = surroundings(
        OCTOHOOKS_LISTEN=target,
        OCTOHOOKS_TARGET=target,
        OCTOHOOKS_DATA_DIR=str(tmp_path / "data"),
    )
    shown = Shown({_SERVER: target, "localhost:50051": target, f":{_LISTENER}/": f":{port}/"})

    def adapt(command: str) -> str:
        # What is installed is what is tested, be it older than the file that lists it.
        command = command.replace("make run", "make --old-file=.venv/.installed run")
        return command.replace(f"--port {_LISTENER}", f"--port {port}")

    terminals = Terminals(tmp_path, variables)
    walkthrough = Walkthrough(README, terminals, shown, adapt)
    api_key = ""
    try:
        for block in blocks(README):
            walkthrough.step(block)
            if block.language == "text" and not api_key:
                api_key = terminals["1"].find("export OCTOHOOKS_API_KEY=")
                shown.learn("AUTH_TOKEN", api_key)
    finally:
        walkthrough.close()
        terminals.close()
    assert walkthrough.commands == 7


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
