"""`tools/check_breaking_changes.py`, run in small repositories of the test's own."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools import check_breaking_changes

CONFIGURATION = """
version: v2
modules:
  - path: protos
"""

PROTO = """
syntax = "proto3";
package octohooks.v1;
message Greeting {
  string text = 1;
}
"""

BROKEN_PROTO = PROTO.replace("string text = 1;", "")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@dataclass(frozen=True)
class Repository:
    """A git repository with a buf configuration and at most one proto."""

    folder: Path

    def git(self, *arguments: str) -> None:
        # The test's repositories neither read nor need the configuration of whoever runs it.
        settings = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Tester",
            "GIT_AUTHOR_EMAIL": "tester@example.com",
            "GIT_COMMITTER_NAME": "Tester",
            "GIT_COMMITTER_EMAIL": "tester@example.com",
        }
        subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **settings},
            check=True,
            capture_output=True,
        )

    def write_proto(self, text: str) -> None:
        folder = self.folder / "protos/octohooks/v1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "greeting.proto").write_text(text)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--allow-empty", "--message", "A change")

    def clone(self, folder: Path, *options: str) -> "Repository":
        self.git("clone", *options, self.folder.as_uri(), str(folder))
        return Repository(folder)

    def check(self) -> int:
        return check_breaking_changes.main(self.folder)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Its only commit, on main, has no proto."""
    repository = Repository(tmp_path / "repository")
    repository.folder.mkdir()
    repository.git("init", "--initial-branch=main")
    (repository.folder / "buf.yaml").write_text(CONFIGURATION)
    repository.commit()
    return repository


@pytest.fixture
def published(repository: Repository) -> Repository:
    """A proto has come to main."""
    repository.write_proto(PROTO)
    repository.commit()
    return repository


def test_the_first_commit_has_nothing_to_break(
    repository: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    repository.write_proto(PROTO)

    assert repository.check() == 0
    assert "no earlier commit" in capfd.readouterr().out


def test_the_first_protos_have_nothing_to_break(
    published: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    assert published.check() == 0
    assert "has no protos" in capfd.readouterr().out


def test_an_addition_breaks_nothing(published: Repository) -> None:
    published.commit()
    published.write_proto(PROTO.replace("= 1;", "= 1; string language = 2;"))

    assert published.check() == 0


def test_a_removed_field_that_is_not_committed_yet_breaks(
    published: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    published.commit()
    published.write_proto(BROKEN_PROTO)

    assert published.check() != 0
    assert 'field "1" with name "text"' in capfd.readouterr().out


def test_a_removed_field_in_the_newest_commit_of_main_breaks_in_a_fresh_clone(
    published: Repository, tmp_path: Path
) -> None:
    published.write_proto(BROKEN_PROTO)
    published.commit()

    assert published.check() != 0
    assert published.clone(tmp_path / "clone").check() != 0


def test_every_commit_that_main_of_the_origin_lacks_is_compared(
    published: Repository, tmp_path: Path
) -> None:
    clone = published.clone(tmp_path / "clone")
    clone.write_proto(BROKEN_PROTO)
    clone.commit()
    clone.commit()

    assert clone.check() != 0


def test_a_branch_is_compared_with_where_it_left_main(published: Repository) -> None:
    published.git("branch", "feature")
    published.write_proto(PROTO.replace("= 1;", "= 1; string language = 2;"))
    published.commit()
    published.git("checkout", "feature")
    published.commit()
    assert published.check() == 0

    published.write_proto(BROKEN_PROTO)
    published.commit()
    published.commit()
    assert published.check() != 0


def test_a_detached_head_is_compared_with_its_parent(published: Repository) -> None:
    published.write_proto(BROKEN_PROTO)
    published.commit()
    published.git("checkout", "--detach")

    assert published.check() != 0


def test_a_shallow_clone_of_one_commit_passes_and_says_why(
    published: Repository, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone = published.clone(tmp_path / "clone", "--depth=1")

    assert clone.check() == 0
    assert "no earlier commit" in capfd.readouterr().out


def test_a_folder_outside_git_passes_and_says_why(
    published: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(published.folder / ".git")

    assert published.check() == 0
    assert "no earlier commit" in capfd.readouterr().out
