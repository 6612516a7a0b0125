"""The program as a process: what is missing, what is slow, how it ends."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def python(program: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **env}, capture_output=True, text=True
    )


def without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `octohooks` with the arguments where the package is not installed."""
    return python(
        f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = {list(arguments)!r};"
        "from octohooks_cli.__main__ import main; main()"
    )


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_it_says_what_to_install(package: str) -> None:
    result = without(package, "--help")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"the package {package} is missing" in result.stderr
    assert "pip install 'octohooks[cli]'" in result.stderr


@pytest.mark.parametrize("package", ["structlog", "sqlalchemy", "pydantic_settings"])
def test_serve_without_the_servers_packages_says_what_to_install(package: str) -> None:
    result = without(package, "serve")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"the package {package} is missing" in result.stderr
    assert "pip install 'octohooks[server]'" in result.stderr


def test_doctor_without_the_servers_packages_says_what_to_install() -> None:
    result = without("sqlalchemy", "doctor")
    assert result.returncode == 1
    assert "the package sqlalchemy is missing" in result.stderr


def test_other_commands_do_without_the_servers_packages() -> None:
    assert without("structlog", "application", "--help").returncode == 0


def test_help_waits_for_no_package_that_is_slow_to_import() -> None:
    result = python(
        "import sys; import octohooks_cli.app;"
        "slow = {'grpc', 'aiohttp', 'asyncio', 'google.protobuf', 'octohooks_server'};"
        "print(slow & {*sys.modules})"
    )
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_a_wrong_setting_of_the_server_is_told_with_exit_code_2(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "octohooks_cli", "serve"],
        env={**os.environ, "OCTOHOOKS_LISTEN": "nowhere", "OCTOHOOKS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "OCTOHOOKS_LISTEN" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_defect_is_told_in_a_line_and_shown_to_developers() -> None:
    program = (
        "import sys; import octohooks_cli.app as app\n"
        "app.app = lambda **options: 1 / 0\n"
        "from octohooks_cli.__main__ import main; main()"
    )
    result = python(program)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "octohooks: ZeroDivisionError: division by zero. This is a defect of the program."
    ]
    assert "Traceback" in python(program, PYTHONDEVMODE="1").stderr


def test_it_tells_its_version() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "octohooks_cli", "--version"], capture_output=True, text=True
    )
    assert result.stdout == f"octohooks {version('octohooks')}\n"


def test_text_that_the_terminal_cannot_show_ends_no_program() -> None:
    program = (
        "import sys; import octohooks_cli.app as app\n"
        "app.app = lambda **options: print('Z\\u00fcrich')\n"
        "from octohooks_cli.__main__ import main; main()"
    )
    result = python(program, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout) == (0, "Z\\xfcrich\n")
