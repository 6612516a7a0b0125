"""Links between documents."""

from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, links, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_the_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    linked = {ROOT / link.partition("#")[0] for link in links(ROOT / "README.md")}
    decisions = ROOT / "docs/decisions"
    assert decisions in linked
    assert {page for page in PAGES if page.parent != decisions} - {ROOT / "README.md"} <= linked


def test_decisions_are_numbered_without_gaps_and_titled_by_their_number() -> None:
    pages = [page for page in PAGES if page.parent.name == "decisions"]
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(len(pages))]
    for page in pages[1:]:
        assert page.read_text("utf-8").startswith(f"# {page.name[:4]}: "), page
