"""Programs of users of the SDK."""

from pathlib import Path

from tests.typescript import node

_OPTIONS = (
    *("--module", "nodenext"),
    *("--target", "es2022"),
    *("--types", "node"),
    *("--typeRoots", str(node.SDK / "node_modules/@types")),
)


def compile_strictly(program: Path) -> None:
    """Compiles a program beside it, under every rule of `strict` and some more."""
    command = node.tsc("--strict", "--exactOptionalPropertyTypes", *_OPTIONS, program.name)
    node.output(command, program.parent)
