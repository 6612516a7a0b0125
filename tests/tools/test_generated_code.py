"""`tools/generate_protos.py`, run on small protos in a folder of the test's own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools import generate_protos

MESSAGES = """
syntax = "proto3";
package octohooks.v1;
message Greeting {
  string text = 1;
}
"""

SERVICE = """
syntax = "proto3";
package octohooks.v1;
import "octohooks/v1/greeting.proto";
service GreetingService {
  rpc Greet(Greeting) returns (Greeting);
}
"""


@dataclass(frozen=True)
class Project:
    """Protos and the code generated from them, as in a checkout."""

    protos: Path
    package_root: Path

    @property
    def package(self) -> Path:
        return self.package_root / "octohooks/v1"

    def write_proto(self, name: str, text: str) -> None:
        folder = self.protos / "octohooks/v1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = [f"--protos={self.protos}", f"--package-root={self.package_root}", *arguments]
        return subprocess.run(
            [sys.executable, generate_protos.__file__, *options], capture_output=True, text=True
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "protos", tmp_path / "python")
    project.write_proto("greeting.proto", MESSAGES)
    project.write_proto("greeting_service.proto", SERVICE)
    generated = project.run()
    assert generated.returncode == 0, generated.stderr
    return project


def test_code_that_was_just_generated_is_up_to_date(project: Project) -> None:
    check = project.run("--check")

    assert check.returncode == 0, check.stderr


def test_every_proto_gets_code_and_types_and_every_service_its_grpc_code(project: Project) -> None:
    assert {path.name for path in project.package.iterdir()} == {
        "__init__.py",
        "greeting_pb2.py",
        "greeting_pb2.pyi",
        "greeting_service_pb2.py",
        "greeting_service_pb2.pyi",
        "greeting_service_pb2_grpc.py",
        "greeting_service_pb2_grpc.pyi",
    }


def test_a_changed_proto_makes_its_code_stale(project: Project) -> None:
    project.write_proto("greeting.proto", MESSAGES.replace("text", "words"))

    check = project.run("--check")

    assert check.returncode == 1
    assert "changed: greeting_pb2.py\n" in check.stderr
    assert "greeting_service" not in check.stderr


def test_code_changed_by_hand_is_noticed(project: Project) -> None:
    with (project.package / "greeting_service_pb2_grpc.pyi").open("a") as file:
        file.write("# by hand\n")

    check = project.run("--check")

    assert check.returncode == 1
    assert "changed: greeting_service_pb2_grpc.pyi\n" in check.stderr


def test_code_left_over_from_a_removed_proto_is_noticed_and_then_removed(project: Project) -> None:
    (project.protos / "octohooks/v1/greeting_service.proto").unlink()

    check = project.run("--check")
    project.run()

    assert check.returncode == 1
    assert "left over: greeting_service_pb2.py\n" in check.stderr
    assert not list(project.package.glob("greeting_service*"))
    assert project.run("--check").returncode == 0


def test_missing_code_is_noticed(project: Project) -> None:
    (project.package / "greeting_pb2.pyi").unlink()

    check = project.run("--check")

    assert check.returncode == 1
    assert "missing: greeting_pb2.pyi\n" in check.stderr


def test_the_check_changes_no_file(project: Project) -> None:
    project.write_proto("farewell.proto", MESSAGES.replace("Greeting", "Farewell"))
    before = {path: path.read_bytes() for path in project.package.iterdir()}

    project.run("--check")

    assert {path: path.read_bytes() for path in project.package.iterdir()} == before


def test_a_proto_that_does_not_compile_fails_both_and_keeps_the_code(project: Project) -> None:
    before = {path: path.read_bytes() for path in project.package.iterdir()}
    project.write_proto("greeting.proto", "no proto at all")

    assert project.run("--check").returncode != 0
    assert project.run().returncode != 0
    assert {path: path.read_bytes() for path in project.package.iterdir()} == before


def test_the_text_of_an_existing_package_is_kept(project: Project) -> None:
    (project.package / "__init__.py").write_text('"""Words of its own."""\n')

    project.run()

    assert (project.package / "__init__.py").read_text() == '"""Words of its own."""\n'
