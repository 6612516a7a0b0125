"""Generates the Python code and its type stubs from the protos, or checks that they are up to date.

python tools/generate_protos.py            writes the code
python tools/generate_protos.py --check    changes nothing; exits 1 and lists what is stale
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("octohooks/v1")
GENERATED_NAMES = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
INIT_TEXT = '"""The messages and services of the Octohooks API, generated from the protos."""\n'
HAS_SERVICE = re.compile(r"^service\s", re.MULTILINE)


def generate(protos: Path, output: Path) -> None:
    """Writes the code of every proto below `protos` to `output`; both are package roots.

    A failing protoc has said on standard error why it failed; raises CalledProcessError.
    """
    sources = sorted((protos / PACKAGE).glob("*.proto"))
    if not sources:
        raise SystemExit(f"No protos in {protos / PACKAGE}")
    output.mkdir(parents=True, exist_ok=True)
    _protoc(
        protos,
        sources,
        f"--python_out={output}",
        f"--mypy_out=quiet,readable_stubs:{output}",
    )
    # gRPC code for a file without a service would be an empty module, so there is none.
    # Servicers are concrete for the type checker as they are at run time, where a method that is
    # not overridden answers UNIMPLEMENTED.
    _protoc(
        protos,
        [source for source in sources if HAS_SERVICE.search(source.read_text("utf-8"))],
        f"--grpc_python_out={output}",
        f"--mypy_grpc_out=quiet,readable_stubs,generate_concrete_servicer_stubs:{output}",
    )


def _protoc(protos: Path, sources: list[Path], *outputs: str) -> None:
    if not sources:
        return
    # protoc finds its plugins on the PATH, and they are installed beside this interpreter.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={protos}", *outputs]
    subprocess.run([*command, *map(str, sources)], check=True, env={**os.environ, "PATH": path})


def generated_files(package_root: Path) -> dict[str, bytes]:
    """The generated files of a package root: their content by name."""
    return {
        path.name: path.read_bytes()
        for pattern in GENERATED_NAMES
        for path in (package_root / PACKAGE).glob(pattern)
    }


def differences(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """One line for each file of `committed` that is not as in `fresh`; none when all are."""
    return [
        f"{_difference(committed.get(name), fresh.get(name))}: {name}"
        for name in sorted(committed.keys() | fresh.keys())
        if committed.get(name) != fresh.get(name)
    ]


def _difference(committed: bytes | None, fresh: bytes | None) -> str:
    if committed is None:
        return "missing"
    return "left over" if fresh is None else "changed"


def check(protos: Path, package_root: Path) -> list[str]:
    """What differs between the code in `package_root` and what `protos` would give."""
    with tempfile.TemporaryDirectory() as folder:
        generate(protos, Path(folder))
        return differences(generated_files(package_root), generated_files(Path(folder)))


def write(protos: Path, package_root: Path) -> None:
    """Replaces the generated code in `package_root`; files of removed protos go."""
    with tempfile.TemporaryDirectory() as folder:
        generate(protos, Path(folder))
        fresh = generated_files(Path(folder))
    package = package_root / PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    for name in generated_files(package_root).keys() - fresh.keys():
        (package / name).unlink()
    for name, content in fresh.items():
        (package / name).write_bytes(content)
    init = package / "__init__.py"
    if not init.exists():
        init.write_text(INIT_TEXT, "utf-8")


def main() -> int:
    """Runs the command line above; answers its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only tell what is stale")
    parser.add_argument("--protos", type=Path, default=ROOT / "protos")
    parser.add_argument("--package-root", type=Path, default=ROOT / "sdk/python")
    options = parser.parse_args()
    try:
        if not options.check:
            write(options.protos, options.package_root)
            return 0
        stale = check(options.protos, options.package_root)
    except subprocess.CalledProcessError as error:
        return error.returncode
    if stale:
        print(
            f"The generated code in {options.package_root / PACKAGE} is not what the protos give.",
            "Run `make protos` and commit the result.",
            *(f"  {line}" for line in stale),
            sep="\n",
            file=sys.stderr,
        )
        return 1
    print("Generated code is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
