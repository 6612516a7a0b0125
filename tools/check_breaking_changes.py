"""Fails when the protos break clients of an earlier state of the main branch.

The earlier state is where the checked-out commit left the main branch or, on the main branch
itself, its parent. Where there is none (the first commit, a shallow clone of one commit, no git) or
where it has no protos, there is nothing to break, and the check says so and passes.
"""

import io
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"


def earlier_commit(repository: Path) -> str | None:
    """The full hash of the commit to compare with, or None where there is none."""
    head = _hash(repository, "rev-parse", "HEAD")
    for branch in ("refs/remotes/origin/main", "refs/heads/main"):
        fork_point = _hash(repository, "merge-base", branch, "HEAD")
        if fork_point not in (None, head):
            return fork_point
    return _hash(repository, "rev-parse", "--verify", "HEAD^")


def extract_protos(repository: Path, commit: str, folder: Path) -> bool:
    """Writes the protos of a commit below `folder`; False when the commit has none."""
    archive = _git(repository, "archive", "--format=zip", commit, "protos")
    if archive.returncode != 0:
        return False
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
        files.extractall(folder)
    return True


def _hash(repository: Path, *arguments: str) -> str | None:
    answer = _git(repository, *arguments)
    return answer.stdout.decode().strip() if answer.returncode == 0 else None


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True)


def main(repository: Path = ROOT) -> int:
    """Compares the protos of the working tree; answers an exit status."""
    commit = earlier_commit(repository) if shutil.which("git") else None
    if commit is None:
        print("Breaking changes: no earlier commit to compare the protos with.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if not extract_protos(repository, commit, Path(folder)):
            print(f"Breaking changes: commit {commit[:12]} has no protos to compare with.")
            return 0
        # Both sides are read by the present configuration, so that a change of it breaks nothing.
        (Path(folder) / "buf.yaml").write_bytes((repository / "buf.yaml").read_bytes())
        result = subprocess.run([str(BUF), "breaking", "--against", folder], cwd=repository)
    if result.returncode == 0:
        print(f"Breaking changes: none since commit {commit[:12]}.")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
