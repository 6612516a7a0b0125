"""The threat model names tests that exist."""

import re

from tests.docs.markdown import ROOT, rows

_PAGE = ROOT / "docs/security.md"
_NAMED = re.compile(r"`(test_\w+)`")
_DEFINED = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def test_every_threat_names_tests_that_exist() -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for text in texts for name in _DEFINED.findall(text)}
    threats = [row for row in rows(_PAGE) if len(row) == 3 and _NAMED.search(row[2])]
    assert len(threats) > 10
    for threat, _, shown_by in threats:
        missing = set(_NAMED.findall(shown_by)) - defined
        assert not missing, threat
