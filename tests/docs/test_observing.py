"""The page about observing names what there is."""

import re

from octohooks_server.observation.metrics import Metrics

from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs/observing.md").read_text("utf-8")


def test_the_table_holds_every_metric_with_its_kind_labels_and_meaning() -> None:
    rows = []
    for one in Metrics().instruments():
        labels = ", ".join(f"`{label}`" for label in one.name.labels)
        rows.append(f"| `{one.name.name}` | {one.kind} | {labels} | {one.name.help} |")
    assert "\n".join(rows) in PAGE


def test_no_metric_is_named_that_does_not_exist() -> None:
    names = {one.name.name for one in Metrics().instruments()}
    assert set(re.findall(r"`(octohooks_[a-z_]+)`", PAGE)) <= names


def test_every_log_line_that_is_named_is_written_somewhere() -> None:
    table = PAGE.partition("| `event` | Level | Fields |")[2].partition("\n\n")[0]
    named = {
        event
        for row in table.splitlines()
        for event in re.findall(r"`([a-z_]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert "attempt" in named
    code = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "server/octohooks_server").rglob("*.py")
    )
    for event in named:
        assert re.search(rf'log\.\w+\(\s*(level,\s*)?"{event}"', code), event
