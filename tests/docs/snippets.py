"""Runs the Python of a page, block after block, as one program."""

import contextlib
import io
from collections.abc import Iterable
from typing import Any

from octohooks import Octohooks

from tests.docs.markdown import Block
from tests.docs.printed import Shown


class Program:
    """What the blocks so far have defined."""

    def __init__(self, page: str, shown: Shown) -> None:
        self._page = page
        self._shown = shown
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, block: Block) -> str:
        """Runs a block; answers what it printed."""
        # An exception tells the line on the page.
        source = "\n" * (block.line - 1) + self._shown.actual(block.code)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, self._page, "exec"), self._names)
        return printed.getvalue()

    def close(self) -> None:
        """Closes the clients that the page has opened."""
        for value in list(self._names.values()):
            if isinstance(value, Octohooks):
                value.close()


def run_page(page: str, found: Iterable[Block], shown: Shown) -> None:
    """Runs the Python blocks, and compares what each prints with the block of text behind it."""
    program = Program(page, shown)
    printed: str | None = None
    try:
        for block in found:
            if "file" in block.attributes:
                # A program of its own, with a test of its own.
                printed = None
            elif block.language in ("python", "test"):
                printed = program.run(block)
            elif block.language == "text" and printed is not None:
                difference = shown.difference(block.code, printed)
                assert difference is None, f"{page}:{block.line}\n{difference}"
                printed = None
            else:
                printed = None
    finally:
        program.close()
