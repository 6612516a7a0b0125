"""The terminals of docs/testing.md."""

from pathlib import Path

from tests.docs.conftest import Place
from tests.docs.markdown import ROOT, blocks
from tests.docs.printed import Shown
from tests.docs.terminals import Terminals, free_port, surroundings
from tests.docs.walkthrough import Walkthrough

PAGE = ROOT / "docs/testing.md"


def test_the_listener_prints_what_the_page_shows(place: Place, tmp_path: Path) -> None:
    variables = surroundings(OCTOHOOKS_API_KEY=place.api_key, OCTOHOOKS_TARGET=place.target)
    port = free_port()
    shown = Shown({":8000/": f":{port}/", "--port 8000": f"--port {port}"})
    terminals = Terminals(tmp_path, variables)
    walkthrough = Walkthrough(PAGE, terminals, shown)
    try:
        for block in blocks(PAGE):
            if block.language in ("sh", "text") and "no-run" not in block.attributes:
                walkthrough.step(block)
    finally:
        walkthrough.close()
        terminals.close()
    assert walkthrough.commands == 2
