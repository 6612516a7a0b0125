"""The page about the command line, and commands on every page."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from octohooks_cli.app import app

from tests.docs.markdown import PAGES, ROOT, blocks, name_of, prose, rows

PAGE = ROOT / "docs/cli.md"


def _commands(command: Any, path: str = "octohooks") -> Iterator[tuple[str, set[str]]]:
    """Every command by its words, with its options."""
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    yield path, options | {"--help"}
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")


COMMANDS = dict(_commands(typer.main.get_command(app)))
LEAVES = {path for path in COMMANDS if not any(other.startswith(f"{path} ") for other in COMMANDS)}


def test_the_page_lists_every_command() -> None:
    listed = {_path_of(row[0].strip("`")) for row in rows(PAGE) if row[0].startswith("`octohooks ")}
    assert listed == LEAVES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_on_the_page_exists_with_its_options(page: Path) -> None:
    for command in _commands_on(page):
        path = _path_of(command)
        assert path in COMMANDS, command
        for option in re.findall(r"(?<!\S)--[a-z-]+", command):
            assert option in COMMANDS[path], command


def test_every_option_that_the_page_names_exists() -> None:
    known = set().union(*COMMANDS.values())
    for option in re.findall(r"`(--[a-z-]+)", prose(PAGE)):
        assert option in known | {"--install-completion"}, option


def _commands_on(page: Path) -> Iterator[str]:
    yield from re.findall(r"`(octohooks [a-zA-Z-][^`\n]*)`", prose(page))
    for block in blocks(page):
        if block.language == "sh":
            yield from re.findall(r"octohooks [a-z][^|\n]*", block.code)


def _path_of(command: str) -> str:
    """The words of a command before its arguments."""
    path = ""
    for word in shlex.split(command):
        longer = f"{path} {word}".strip()
        if longer not in COMMANDS:
            break
        path = longer
    return path
