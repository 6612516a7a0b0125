"""Node.js in tests: the TypeScript SDK is installed and built once for a whole test run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "sdk/typescript"
# Seconds, for a busy machine; a program that hangs fails with what it printed.
PATIENCE = 120


def need(program: str) -> str:
    """The path of a program. Where there is none the test is skipped, and fails in CI."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def run(
    command: list[str], folder: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, with `variables` and none of Octohooks' own that are set here."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("OCTOHOOKS_")
    }
    return subprocess.run(
        command,
        cwd=folder,
        env={**inherited, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )


def output(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
    """What the program printed; the test fails when the program does."""
    done = run(command, folder, variables)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def tsc(*arguments: str) -> list[str]:
    """The command of the SDK's own compiler, which is installed with its development packages."""
    return [need("node"), str(SDK / "node_modules/typescript/bin/tsc"), *arguments]


def build(shared: Path) -> None:
    """Installs what the SDK needs and compiles it with its tests, once for each `shared` folder."""
    npm = need("npm")
    with once(shared, "sdk") as first:
        if not first:
            return
        installed = SDK / "node_modules/.installed"
        lock = SDK / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            output([npm, "ci", "--no-audit", "--no-fund"], SDK)
            installed.touch()
        for folder in ("dist", "build"):
            shutil.rmtree(SDK / folder, ignore_errors=True)
        output([npm, "run", "--silent", "build"], SDK)
        output([npm, "run", "--silent", "build:tests"], SDK)


def install_package(shared: Path) -> Path:
    """A folder of its own in which the packed SDK is installed, and nothing else; made once."""
    build(shared)
    npm = need("npm")
    consumer = shared / "consumer"
    with once(shared, "consumer") as first:
        if first:
            consumer.mkdir()
            output([npm, "pack", "--silent", "--pack-destination", str(consumer)], SDK)
            (package,) = consumer.glob("octohooks-*.tgz")
            (consumer / "package.json").write_text('{"private": true}')
            output([npm, "install", "--no-audit", "--no-fund", f"./{package.name}"], consumer)
    return consumer


@contextmanager
def once(shared: Path, name: str) -> Iterator[bool]:
    """Holds a lock that all processes of the test run share; says whether the work is still to be
    done, and notes that it is when the block ends well."""
    done = shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not done.exists()
        done.touch()
