"""The calls by grpcurl of docs/clients.md."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.process import ServerProcess
from tests.clients import examples


@pytest.mark.fetches_much
@pytest.mark.timeout(examples.PATIENCE)
async def test_grpcurl_sends_a_message_by_reflection_and_lists_it_by_the_protos(
    server: ServerProcess, known: dict[str, str], tmp_path: Path
) -> None:
    go = examples.folder_of("go", "/usr/local/go/bin")
    programs = tmp_path / "bin"
    printed = await asyncio.to_thread(
        examples.run,
        "grpcurl",
        tmp_path,
        known,
        programs=[str(programs), go],
        variables={"GOBIN": str(programs)},
    )
    sent, listed = documents(printed)
    [message] = listed["messages"]
    assert message["id"] == sent["message"]["id"]
    await examples.expect_the_message(server)


def documents(text: str) -> list[Any]:
    """The JSON documents that stand behind one another."""
    found = []
    while text := text.lstrip():
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:]
    return found
