"""Builds the documents as a static site.

python -m tools.build_docs FOLDER    builds into the folder; what is wrong fails the build

The pages are those of `docs/`, the README, the changelog, the reference of the gRPC API out of the
protos and that of the Python SDK out of its docstrings. They are laid out in a folder of their own
first, since links between files of the repository lead elsewhere on the site, or nowhere.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sphinx.cmd.build import build_main

from tools import document_api

ROOT = Path(__file__).resolve().parent.parent

# The guides in the order in which one would read them; pages that are not named come after them.
_ORDER = [
    *("concepts", "sending", "channels", "idempotency", "delivery", "retries", "replaying"),
    *("verifying", "watching", "operational-webhooks", "testing", "clients"),
]
# Where a link leads that is not to a document.
_ELSEWHERE = {"protos/octohooks/v1": "api/index.md", "docs/decisions": "decisions/index.md"}
_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<path>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
# A test's own lines, which readers do not see.
_HIDDEN = re.compile(r"^<!--.*?^-->\n|<!--.*?-->\n", re.MULTILINE | re.DOTALL)


def documents() -> dict[Path, str]:
    """The repository's documents, by their path in it, each with its place on the site."""
    places = {
        Path("README.md"): "index.md",
        Path("CHANGELOG.md"): "changelog.md",
        Path("examples/README.md"): "examples.md",
        Path("sdk/typescript/README.md"): "typescript.md",
    }
    for page in sorted((ROOT / "docs").rglob("*.md")):
        places[page.relative_to(ROOT)] = page.relative_to(ROOT / "docs").as_posix()
    return places


def lay_out(folder: Path) -> None:
    """Puts the sources of the site into an empty folder."""
    shutil.copytree(ROOT / "docs/site", folder, dirs_exist_ok=True)
    places = documents()
    for path, place in places.items():
        text = _with_links_of_the_site(ROOT / path, place, places)
        if place == "index.md":
            text += "\n" + "\n".join(_contents(places))
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, folder)
    (folder / "decisions/index.md").write_text(
        "# Decisions\n\n```{toctree}\n:maxdepth: 1\n:glob:\n\n[0-9]*\n```\n", "utf-8"
    )
    document_api.main([str(folder / "api")])


def _contents(places: dict[Path, str]) -> Iterator[str]:
    """What stands at the side of each page."""
    guides = {
        place.removesuffix(".md") for path, place in places.items() if path.parent == Path("docs")
    }
    first = [name for name in _ORDER if name in guides]
    yield from _tree("Guides", [*first, *sorted(guides.difference(first)), "examples"])
    yield from _tree("Reference", ["api/index", "python", "typescript"])
    yield from _tree("Project", ["changelog", "decisions/index"])


def _tree(caption: str, names: Sequence[str]) -> Iterator[str]:
    yield from ("```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {caption}", "")
    yield from (*names, "```", "")


def _with_links_of_the_site(page: Path, place: str, places: dict[Path, str]) -> str:
    """The page with links to where things are on the site; what is not on it is only named."""

    def moved(match: re.Match[str]) -> str:
        text, path, anchor = match["text"], match["path"], match["anchor"] or ""
        if not path or "://" in path:
            return match[0]
        target = (page.parent / path).resolve().relative_to(ROOT)
        found = places.get(target) or _ELSEWHERE.get(target.as_posix())
        if found is None and target.suffix == ".svg":
            return match[0]
        if found is None:
            return text
        up = "../" * place.count("/")
        return f"[{text}]({up}{found}{anchor})"

    return _LINK.sub(moved, _HIDDEN.sub("", page.read_text("utf-8")))


def build(folder: Path) -> int:
    """Builds the site into `folder`; answers the exit status, which is not 0 after a warning."""
    with tempfile.TemporaryDirectory() as sources:
        lay_out(Path(sources))
        status = build_main(
            ["--quiet", "--fail-on-warning", "--keep-going", "-b", "html", sources, str(folder)]
        )
    if status == 0:
        print(f"The site is in {folder}; open {folder / 'index.html'}")
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line above; answers its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    return build(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    sys.exit(main())
