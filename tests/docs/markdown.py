"""What tests read out of the documents: code blocks, tables and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "examples/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)

# A fenced block, or a comment that holds a test's own lines, which readers do not see.
_BLOCK = re.compile(
    r"^```(?P<info>[^\n`]+)\n(?P<code>.*?)^```$|^<!-- test\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
_ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One block of code."""

    language: str
    """The first word behind the fence; `test` for a hidden one."""
    attributes: dict[str, str]
    """The other words: `terminal=2` is a value, a bare word an empty one."""
    code: str
    line: int
    """The number of the code's first line on its page."""


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        language, *words = (match["info"] or "test").split()
        group = "hidden" if match["code"] is None else "code"
        yield Block(
            language,
            {name: value for name, _, value in (word.partition("=") for word in words)},
            match[group],
            text.count("\n", 0, match.start(group)) + 1,
        )


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def rows(page: Path) -> list[list[str]]:
    """The cells of every table row of a page, the rows under the headings included."""
    return [[cell.strip() for cell in row.split("|")] for row in _ROW.findall(prose(page))]


def links(page: Path) -> list[str]:
    """The targets of the links of a page."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What links can point to within a page, as GitHub makes them of its headings."""
    headings = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()
