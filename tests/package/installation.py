"""The package as it is released: built, and installed where nothing else is.

No index is asked. What the package requires is linked from the environment that the tests run in,
so that nothing comes along that is not required.
"""

import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> tuple[Path, Path]:
    """The source distribution of this tree, and the wheel that is built of it alone."""
    _hatchling(ROOT, "sdist", folder)
    (source,) = folder.glob("octohooks-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / source.name.removesuffix(".tar.gz")
    _hatchling(unpacked, "wheel", folder)
    (wheel,) = folder.glob("octohooks-*.whl")
    return source, wheel


def _hatchling(project: Path, target: str, folder: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run([*command, "--directory", str(folder)], cwd=project, check=True)


class Installation:
    """A virtual environment with the package and what it requires, and nothing else."""

    def __init__(self, folder: Path, ours: Path | Distribution, extra: str = "") -> None:
        """`ours` is the wheel, which pip installs, or what another installation has of it."""
        venv.create(folder, symlinks=True)
        self._programs = folder / "bin"
        (self._packages,) = folder.glob("lib/python*/site-packages")
        if isinstance(ours, Path):
            self._install(ours)
            (ours,) = Distribution.discover(name="octohooks", path=[str(self._packages)])
        else:
            self._link(ours)
        self.ours = ours
        required = {_name(found): found for found in _required(ours, frozenset({extra}))}
        self.required = set(required)
        """The names of what came with it."""
        for found in required.values():
            self._link(found)

    def command(self, program: str, *arguments: str) -> list[str]:
        """A program of it with its arguments."""
        return [str(self._programs / program), *arguments]

    def run(
        self, *command: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program of it to its end."""
        return subprocess.run(
            self.command(*command),
            env=surroundings(variables or {}),
            capture_output=True,
            text=True,
        )

    def _install(self, wheel: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", *self.command("python")]
        install = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel)]
        subprocess.run([*pip, *install], check=True)

    def _link(self, found: Distribution) -> None:
        for name in _entries(found):
            link = self._packages / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(str(found.locate_file(name)))


def _entries(found: Distribution) -> set[str]:
    """The folders and modules of a distribution that nobody else puts anything into."""
    entries = set()
    for line in (found.read_text("RECORD") or "").splitlines():
        top, _, rest = line.partition(",")[0].partition("/")
        # Programs lie outside, and pip leaves compiled modules in a folder that all share.
        if top in ("..", "__pycache__"):
            continue
        is_shared = (
            rest
            and not top.endswith(".dist-info")
            and not Path(str(found.locate_file(f"{top}/__init__.py"))).is_file()
        )
        entries.add(f"{top}/{rest.partition('/')[0]}" if is_shared else top)
    return entries


def surroundings(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a program, with nothing of Python's or Octohooks' own that is set here."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OCTOHOOKS_", "PYTHON"))
    }
    return {**inherited, **variables}


def _required(of: Distribution, extras: frozenset[str]) -> Iterator[Distribution]:
    """What a distribution requires with these extras, and what that requires."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(of, extras)]
    while todo:
        current, its_extras = todo.pop()
        for text in current.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            wanted = marker is None or any(
                marker.evaluate({"extra": extra}) for extra in its_extras or {""}
            )
            key = (requirement.name, frozenset(requirement.extras))
            if not wanted or key in seen:
                continue
            seen.add(key)
            found = of if requirement.name == of.name else distribution(requirement.name)
            assert requirement.specifier.contains(found.version), requirement
            if found is not of:
                yield found
            todo.append((found, key[1]))


def _name(of: Distribution) -> str:
    return re.sub(r"[-_.]+", "-", of.name).lower()
