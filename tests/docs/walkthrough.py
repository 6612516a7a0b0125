"""A page that is followed step by step, as a reader would: in terminals, and in Python."""

from collections.abc import Callable
from pathlib import Path

from tests.docs.markdown import Block, name_of
from tests.docs.printed import Shown
from tests.docs.snippets import Program
from tests.docs.terminals import Terminal, Terminals


class Walkthrough:
    """Does what each block says, and compares what is printed with the block of text behind it."""

    def __init__(
        self,
        page: Path,
        terminals: Terminals,
        shown: Shown,
        adapt: Callable[[str], str] = lambda command: command,
    ) -> None:
        """`adapt` makes of each command what fits this run."""
        self._page = name_of(page)
        self._terminals = terminals
        self._shown = shown
        self._adapt = adapt
        self._program = Program(self._page, shown)
        self._printed = ""
        self._staying: Terminal | None = None
        self.commands = 0

    def step(self, block: Block) -> None:
        """Does what one block says."""
        if block.language == "sh":
            self._type(block)
        elif block.language in ("python", "test"):
            self._staying = None
            self._printed = self._program.run(block)
        elif "diagram" in block.attributes:
            return
        elif "terminal" in block.attributes:
            self._terminals[block.attributes["terminal"]].expect(self._shown, block.code)
        elif self._staying is not None:
            self._staying.expect(self._shown, block.code)
        else:
            difference = self._shown.difference(block.code, self._printed)
            assert difference is None, f"{self._page}:{block.line}\n{difference}"

    def close(self) -> None:
        """Closes the clients that the page has opened."""
        self._program.close()

    def _type(self, block: Block) -> None:
        terminal = self._terminals[block.attributes["terminal"]]
        command = self._adapt(self._shown.actual(block.code))
        self._staying = terminal if "stays" in block.attributes else None
        if self._staying:
            self._staying.start(command)
        else:
            self._printed = terminal.run(command)
        self.commands += 1
