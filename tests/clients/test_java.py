"""The client in Java of docs/clients.md."""

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.process import ServerProcess
from tests.clients import examples


@pytest.mark.fetches_much
@pytest.mark.timeout(examples.PATIENCE)
async def test_the_example_in_java_compiles_and_sends_a_message(
    server: ServerProcess, known: dict[str, str], tmp_path: Path
) -> None:
    programs = [examples.folder_of("javac"), examples.folder_of("mvn")]
    printed = await asyncio.to_thread(
        examples.run, "java", tmp_path, known, programs=programs, variables={}
    )
    assert printed.splitlines() == ["invoice.paid"]
    await examples.expect_the_message(server)
