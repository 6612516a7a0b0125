"""The released package: what installing it brings, and that it works there."""

import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from octohooks import Octohooks

from tests.acceptance.process import environment
from tests.package.installation import Installation, build, surroundings

# Seconds: whichever test comes first builds the package and installs it.
pytestmark = pytest.mark.timeout(180)

# The last comes with grpcio.
_SDK = {"googleapis-common-protos", "grpcio", "protobuf", "typing-extensions"}

PROGRAM = """
import asyncio
from importlib.metadata import distributions

from octohooks import AsyncOctohooks, Octohooks, Webhook

webhook = Webhook("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
print(webhook.verify("{}", webhook.sign("{}")))

with Octohooks() as octohooks:
    print(octohooks.application.update("some-user", name="Some User").name)


async def main() -> None:
    async with AsyncOctohooks() as octohooks:
        print((await octohooks.application.get("some-user")).uid)


asyncio.run(main())
print(*sorted({found.name for found in distributions()}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution and the wheel."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def alone(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`octohooks`, as pip installs it."""
    return Installation(tmp_path_factory.mktemp("sdk"), built[1])


@pytest.fixture(scope="module")
def with_server(alone: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`octohooks[server]`."""
    return Installation(tmp_path_factory.mktemp("server"), alone.ours, "server")


@pytest.fixture(scope="module")
def serving(
    with_server: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The installed server on an empty folder; gives the variables of its clients."""
    settings = environment(tmp_path_factory.mktemp("data"))
    settings = {name: value for name, value in settings.items() if name.startswith("OCTOHOOKS_")}
    with subprocess.Popen(
        with_server.command("python", "-m", "octohooks_cli", "serve"),
        env=surroundings(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            target = _behind("serves gRPC at ", process.stdout)
            api_key = _behind("export OCTOHOOKS_API_KEY=", process.stdout)
            yield {"OCTOHOOKS_TARGET": target, "OCTOHOOKS_API_KEY": api_key}
        finally:
            process.terminate()
            process.stdout.read()
    assert process.returncode == 0


def _behind(text: str, lines: Iterable[str]) -> str:
    """What stands behind the text on the first line that has it."""
    seen = []
    for line in lines:
        _, found, rest = line.rstrip().partition(text)
        if found:
            return rest
        seen.append(line)
    raise AssertionError(f"the server ended without {text!r}:\n{''.join(seen)}")


def test_the_package_alone_is_the_sdk_and_brings_what_it_needs_and_nothing_else(
    alone: Installation, serving: dict[str, str]
) -> None:
    assert alone.required == _SDK

    done = alone.run("python", "-c", PROGRAM, variables=serving)

    assert done.stderr == ""
    *printed, installed = done.stdout.splitlines()
    assert printed == ["{}", "Some User", "some-user"]
    assert installed == "googleapis-common-protos grpcio octohooks protobuf typing_extensions"
    done = alone.run("octohooks", "--help")
    assert done.returncode == 1
    assert "pip install 'octohooks[cli]'" in done.stderr


def test_the_extra_cli_is_the_command_line(
    alone: Installation, serving: dict[str, str], tmp_path: Path
) -> None:
    with_cli = Installation(tmp_path / "venv", alone.ours, "cli")
    assert _SDK | {"aiohttp", "rich", "typer"} <= with_cli.required
    assert with_cli.required.isdisjoint({"sqlalchemy", "cryptography"})

    octohooks = ("python", "-m", "octohooks_cli")
    create = ("application", "create", "--uid", "by-hand")
    done = with_cli.run(*octohooks, *create, variables=serving)

    assert done.returncode == 0, done.stderr
    assert "by-hand" in done.stdout
    done = with_cli.run(*octohooks, "serve")
    assert done.returncode == 1
    assert "pip install 'octohooks[server]'" in done.stderr


def test_the_extra_server_serves_and_brings_no_tool_of_development(
    with_server: Installation, serving: dict[str, str]
) -> None:
    assert _SDK | {"aiohttp", "sqlalchemy", "typer"} <= with_server.required
    assert with_server.required.isdisjoint({"pytest", "mypy", "ruff", "grpcio-tools"})
    target, api_key = serving["OCTOHOOKS_TARGET"], serving["OCTOHOOKS_API_KEY"]
    with Octohooks(api_key, target=target) as octohooks:
        made = octohooks.message.create(
            "anybody", event_type="invoice.paid", payload={}, inline_application={}
        )
        assert octohooks.message.get("anybody", made.id).payload == b"{}"


def test_the_wheel_has_the_types_and_the_source_distribution_what_the_wheel_is_made_of(
    built: tuple[Path, Path],
) -> None:
    source, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"octohooks/py.typed", "octohooks/v1/message_pb2.pyi"} <= names
    packages = {"octohooks", "octohooks_cli", "octohooks_server"}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == packages
    with tarfile.open(source) as tar:
        kept = {name.partition("/")[2] for name in tar.getnames()}
    assert {"README.md", "pyproject.toml", "protos/octohooks/v1/message.proto"} <= kept
    assert not [name for name in kept if "node_modules/" in name or "__pycache__" in name]
