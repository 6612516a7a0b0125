"""The page about settings, and `tools/document_settings.py`, which writes its table."""

import subprocess
import sys
from pathlib import Path

import pytest
from octohooks_server.settings import SettingsError, read_settings

from tests.docs.markdown import ROOT, blocks
from tools import document_settings

PAGE = ROOT / "docs/settings.md"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, document_settings.__file__, *arguments], capture_output=True, text=True
    )


def test_the_table_is_what_the_settings_say() -> None:
    check = _run("--check")
    assert check.returncode == 0, check.stderr


def test_a_changed_table_is_noticed_and_written_anew(tmp_path: Path) -> None:
    document = tmp_path / "settings.md"
    document.write_text(PAGE.read_text("utf-8").replace("`127.0.0.1:50051`", "`0.0.0.0:1`"))

    check = _run("--check", f"--document={document}")
    assert check.returncode == 1
    assert "document_settings.py" in check.stderr
    assert "0.0.0.0:1" in document.read_text("utf-8")

    assert _run(f"--document={document}").returncode == 0
    assert document.read_text("utf-8") == PAGE.read_text("utf-8")


def test_a_document_without_markers_is_not_touched() -> None:
    with pytest.raises(ValueError, match="markers"):
        document_settings.with_table("# Settings\n")


def test_the_sentence_about_a_wrong_value_is_the_one_that_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (block,) = blocks(PAGE)
    monkeypatch.setenv("OCTOHOOKS_LEASE", "10")
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert str(raised.value) == block.code.rstrip()
