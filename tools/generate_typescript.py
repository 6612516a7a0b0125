"""Generates the TypeScript code from the protos, or checks that it is up to date.

python tools/generate_typescript.py            writes the code
python tools/generate_typescript.py --check    changes nothing; exits 1 and lists what is stale

It needs Node, and the SDK's development packages: `npm ci` in sdk/typescript.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# Run as a script, this folder is on the path and not the project.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.generate_protos import differences

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("sdk/typescript/src/gen")
BUF = Path(sysconfig.get_path("scripts")) / "buf"
ERROR_DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
"""What errors carry. The API's own protos do not import them."""


def generate(root: Path) -> None:
    """Writes all code below `root`, as `buf.gen.yaml` says.

    A failing buf has said on standard error why it failed; raises CalledProcessError.
    """
    _buf("protos", root)
    with tempfile.TemporaryDirectory() as folder:
        for name in ERROR_DETAILS:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_installed(name), target)
        _buf(folder, root)


def _buf(protos: str, output: Path) -> None:
    command = [str(BUF), "generate", "--template", "buf.gen.yaml", "--output", str(output), protos]
    subprocess.run(command, cwd=ROOT, check=True)


def _installed(name: str) -> Path:
    """A proto of Google's, as it is installed for the Python SDK."""
    spec = importlib.util.find_spec("google.rpc")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / Path(name).name
        if path.exists():
            return path
    raise SystemExit(f"{name} is not installed: it comes with googleapis-common-protos")


def generated_files(folder: Path) -> dict[str, bytes]:
    """The generated files: their content by their path below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.ts"))
    }


def main() -> int:
    """Runs the command line above; answers its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only tell what is stale")
    options = parser.parse_args()
    committed = ROOT / OUTPUT
    with tempfile.TemporaryDirectory() as folder:
        try:
            generate(Path(folder))
        except subprocess.CalledProcessError as error:
            return error.returncode
        fresh = Path(folder) / OUTPUT
        if not options.check:
            shutil.rmtree(committed, ignore_errors=True)
            shutil.copytree(fresh, committed)
            return 0
        stale = differences(generated_files(committed), generated_files(fresh))
    if stale:
        print(
            f"The generated code in {OUTPUT} is not what the protos give.",
            "Run `make protos` and commit the result.",
            *(f"  {line}" for line in stale),
            sep="\n",
            file=sys.stderr,
        )
        return 1
    print("Generated TypeScript code is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
