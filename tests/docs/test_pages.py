"""The examples of the pages under `docs/`, run against a real server."""

import asyncio
import itertools
from pathlib import Path

import pytest

from tests.docs.conftest import Place
from tests.docs.markdown import PAGES, Block, blocks, name_of
from tests.docs.printed import Shown
from tests.docs.snippets import run_page
from tests.docs.terminals import Terminal, surroundings
from tests.receivers import Receiver

_PAGES = [page for page in PAGES if page.name != "README.md"]


def _with(language: str) -> list[Path]:
    return [page for page in _PAGES if any(language == one.language for one in blocks(page))]


def _is_run(block: Block) -> bool:
    # What is typed into several terminals has a test of its own.
    return block.language == "sh" and not {"no-run", "terminal"} & set(block.attributes)


@pytest.mark.parametrize("page", _with("python"), ids=name_of)
async def test_the_python_of_the_page_runs_and_prints_what_is_shown(
    page: Path, place: Place, receiver: Receiver
) -> None:
    hosts = {f"https://example.com{path}": receiver.url for path in _paths(page)}
    shown = Shown({"AUTH_TOKEN": place.api_key, "localhost:50051": place.target} | hosts)
    await asyncio.to_thread(run_page, name_of(page), blocks(page), shown)


@pytest.mark.parametrize("page", _with("sh"), ids=name_of)
async def test_the_commands_of_the_page_run_and_print_what_is_shown(
    page: Path, place: Place, tmp_path: Path
) -> None:
    variables = surroundings(OCTOHOOKS_API_KEY=place.api_key, OCTOHOOKS_TARGET=place.target)
    terminal = Terminal(variables, tmp_path / "log")
    shown = Shown({})
    for block, following in itertools.pairwise([*blocks(page), None]):
        if block is None or not _is_run(block):
            continue
        printed = await asyncio.to_thread(terminal.run, shown.actual(block.code))
        if following is not None and following.language in ("text", "json"):
            difference = shown.difference(following.code, printed)
            assert difference is None, f"{name_of(page)}:{following.line}\n{difference}"


def _paths(page: Path) -> set[str]:
    """The paths under the host that stands for receivers."""
    parts = page.read_text("utf-8").split('"https://example.com')[1:]
    return {part.partition('"')[0] for part in parts}
