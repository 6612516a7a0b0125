"""The TypeScript of the documents, compiled and run against a real server."""

import asyncio
from pathlib import Path

import pytest
from octohooks import AsyncOctohooks

from tests.acceptance.process import OPERATOR_KEY, ServerProcess
from tests.docs.markdown import Block, blocks, name_of
from tests.docs.printed import Shown
from tests.receivers import Receiver
from tests.typescript import node
from tests.typescript.consumers import compile_strictly

pytestmark = pytest.mark.timeout(node.PATIENCE * 3)

_PAGES = [node.ROOT / "docs/clients.md", node.SDK / "README.md"]
# Printed before what each block prints.
_BETWEEN = "\x1e"


def programs(page: Path) -> dict[str, list[Block]]:
    """The blocks of each program of a page, each with the text that it prints behind it. Hidden
    blocks belong to the program before them."""
    found: dict[str, list[Block]] = {}
    program = ""
    printing = False
    for block in blocks(page):
        if block.language == "typescript":
            program = block.attributes["program"]
        runs = block.language in ("typescript", "test")
        if runs or (printing and block.language == "text"):
            found.setdefault(program, []).append(block)
        printing = runs
    return found


_CASES = [(page, program) for page in _PAGES for program in programs(page)]


@pytest.mark.parametrize(
    ("page", "program"), _CASES, ids=lambda value: name_of(value) if value in _PAGES else value
)
async def test_the_typescript_of_the_page_runs_and_prints_what_is_shown(
    page: Path, program: str, consumer: Path, server: ServerProcess, tmp_path: Path
) -> None:
    async with (
        Receiver() as receiver,
        AsyncOctohooks(OPERATOR_KEY, target=server.address) as operator,
    ):
        environment = await operator.environment.create("Documents")
        api_key = (await operator.api_key.create(environment=environment.id)).key
        shown = Shown(
            {
                "AUTH_TOKEN": api_key,
                "localhost:50051": server.address,
                "https://example.com/webhooks": receiver.url,
            }
        )
        source = consumer / f"{tmp_path.name}.mts"
        found = programs(page)[program]
        source.write_text(
            "\n".join(
                f"console.log({_BETWEEN!r});\n{shown.actual(block.code)}"
                for block in found
                if block.language != "text"
            )
        )
        printed = await asyncio.to_thread(_run, source, server.address)
    results = iter(printed.split(f"{_BETWEEN}\n")[1:])
    text = ""
    for block in found:
        if block.language != "text":
            text = next(results)
            continue
        difference = shown.difference(block.code, text)
        assert difference is None, f"{name_of(page)}:{block.line}\n{difference}"


def _run(source: Path, target: str) -> str:
    compile_strictly(source)
    command = [node.need("node"), source.with_suffix(".mjs").name]
    return node.output(command, source.parent, {"OCTOHOOKS_TARGET": target})
