"""The examples of docs/clients.md for languages without an SDK, put into folders and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.process import ServerProcess
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs/clients.md"
_COLOUR = re.compile(r"\x1b\[\d*m")
# Seconds: the first run fetches and compiles all that a client needs.
PATIENCE = 600


def folder_of(program: str, *usual_folders: str) -> str:
    """Where a program is: on the PATH, or in a folder where its own installer puts it. Where there
    is none the test is skipped, and fails in CI."""
    path = os.pathsep.join([os.environ["PATH"], *usual_folders])
    found = shutil.which(program, path=path)
    if found is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return os.path.dirname(found)


def run(
    client: str,
    folder: Path,
    known: Mapping[str, str],
    *,
    programs: list[str],
    variables: Mapping[str, str],
) -> str:
    """Writes the files of a client, runs its commands in the folder, and answers what they printed,
    without colours.

    `known` are the names in the files that stand for others, such as the API key; `programs` are
    folders of programs that the commands use.
    """
    script = "set -e\n"
    for block in blocks(PAGE):
        if block.attributes.get("client") != client:
            continue
        text = block.code
        for name, value in known.items():
            text = text.replace(name, value)
        if "file" in block.attributes:
            file = folder / block.attributes["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        else:
            script += text
    # buf is installed beside this interpreter.
    path = [os.path.dirname(sys.executable), *programs, os.environ["PATH"]]
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            **variables,
            "PATH": os.pathsep.join(path),
            "PROTOS": str(ROOT / "protos"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return _COLOUR.sub("", done.stdout)


async def expect_the_message(server: ServerProcess) -> None:
    """Checks that the server has what each example sends, and has it once."""
    async with server.connect() as client:
        assert (await client.application.get("some-user")).name == "Some User"
        [message] = [message async for message in client.message.list("some-user")]
        message = await client.message.get("some-user", message.id)
    assert message.event_type == "invoice.paid"
    assert json.loads(message.payload) == {"id": 1}
