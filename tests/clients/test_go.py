"""The client in Go of docs/clients.md."""

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.process import ServerProcess
from tests.clients import examples


@pytest.mark.timeout(examples.PATIENCE)
async def test_the_example_in_go_compiles_and_sends_a_message(
    server: ServerProcess, known: dict[str, str], tmp_path: Path
) -> None:
    go = examples.folder_of("go", "/usr/local/go/bin")
    plugins = tmp_path / "bin"
    folder = tmp_path / "invoices"
    folder.mkdir()
    printed = await asyncio.to_thread(
        examples.run,
        "go",
        folder,
        known,
        programs=[str(plugins), go],
        variables={"GOBIN": str(plugins)},
    )
    assert printed.splitlines()[-1] == "invoice.paid"
    await examples.expect_the_message(server)
