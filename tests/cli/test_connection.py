"""Where the command line takes the connection and the form of its output from."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from octohooks import Octohooks
from octohooks.v1.application_service_pb2 import GetApplicationResponse, ListApplicationsResponse

from tests.certificates import Authority
from tests.cli.conftest import Run
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer


def keys(server: FakeServer) -> list[str | bytes]:
    return [received.metadata["authorization"] for received in server.received]


def test_the_environment_names_server_and_key(run: Run, server: FakeServer) -> None:
    assert run("application", "list").exit_code == 0
    assert keys(server) == ["Bearer key"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--api-key", "mine", "application", "list"],
        ["application", "list", "--api-key", "mine"],
        ["--api-key", "other", "application", "list", "--api-key", "mine"],
    ],
)
def test_an_option_before_or_behind_the_command_overrides_the_environment(
    run: Run, server: FakeServer, arguments: list[str]
) -> None:
    assert run(*arguments).exit_code == 0
    assert keys(server) == ["Bearer mine"]


@pytest.mark.parametrize("position", ["before", "behind"])
def test_the_target_can_be_an_option(run: Run, server: FakeServer, position: str) -> None:
    option, command = ["--target", server.target], ["application", "list"]
    arguments = [*option, *command] if position == "before" else [*command, *option]
    assert run(*arguments, env={"OCTOHOOKS_TARGET": "nowhere.invalid:1"}).exit_code == 0
    assert len(server.received) == 1


def test_options_from_both_sides_go_together(run: Run, server: FakeServer) -> None:
    arguments = ["--target", server.target, "application", "list", "--api-key", "mine"]
    assert run(*arguments, env={"OCTOHOOKS_TARGET": "nowhere.invalid:1"}).exit_code == 0
    assert keys(server) == ["Bearer mine"]


def test_no_key_is_an_error_of_usage_that_says_where_one_comes_from(
    run: Run, server: FakeServer
) -> None:
    result = run("application", "list", env={"OCTOHOOKS_API_KEY": ""})
    assert result.exit_code == 2
    assert "OCTOHOOKS_API_KEY" in result.stderr
    assert server.received == []


def test_a_key_that_cannot_be_one_is_an_error_that_does_not_show_it(run: Run) -> None:
    result = run("application", "list", "--api-key", "gehéim")
    assert result.exit_code == 2
    assert "API key" in result.stderr
    assert "gehéim" not in result.output


@pytest.mark.parametrize(
    "arguments", [["--json", "application", "list"], ["application", "list", "--json"]]
)
def test_json_is_an_object_per_line(run: Run, server: FakeServer, arguments: list[str]) -> None:
    server.on(
        "ListApplications",
        lambda request, context: made(
            ListApplicationsResponse,
            applications=[{"id": "app_1"}, {"id": "app_2", "rate_limit": 5}],
        ),
    )
    lines = run(*arguments).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "app_1"},
        {"id": "app_2", "rate_limit": 5},
    ]


def test_one_thing_is_one_line_of_json(run: Run, server: FakeServer) -> None:
    server.on(
        "GetApplication",
        lambda request, context: made(
            GetApplicationResponse, application={"id": "app_1", "name": "ü"}
        ),
    )
    assert run("application", "get", "a", "--json").stdout == '{"id": "app_1", "name": "ü"}\n'


def test_certificates_come_from_files(run: Run, tmp_path: Path) -> None:
    authority = Authority.make()
    issued = authority.issue("127.0.0.1")
    files = {"ca": authority.pem().encode(), "key": issued.key, "own": issued.certificate}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    credentials = grpc.ssl_server_credentials(
        [(issued.key, issued.certificate)], authority.pem().encode(), require_client_auth=True
    )
    with FakeServer(credentials=credentials) as mutual:
        result = run(
            *("--tls-ca", str(tmp_path / "ca"), "--tls-client-certificate", str(tmp_path / "own")),
            *("--tls-client-key", str(tmp_path / "key"), "application", "list"),
            *("--target", mutual.target),
        )
        assert result.exit_code == 0, result.output
        assert len(mutual.received) == 1


def test_a_file_with_certificates_that_is_not_there_is_an_error_of_usage(
    run: Run, server: FakeServer, tmp_path: Path
) -> None:
    assert run("application", "list", "--tls-ca", str(tmp_path / "none")).exit_code == 2
    gone = {"OCTOHOOKS_TLS_CA": str(tmp_path / "none")}
    result = run("application", "list", env=gone)
    assert result.exit_code == 2
    assert "OCTOHOOKS_TLS_CA" in result.stderr
    assert server.received == []


@pytest.mark.parametrize(("options", "tls"), [([], None), (["--plaintext"], False)])
def test_a_connection_is_encrypted_as_the_client_sees_fit_unless_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], tls: bool | None
) -> None:
    seen: list[object] = []

    class Client(Octohooks):
        def __init__(self, **arguments: Any) -> None:
            seen.append(arguments["tls"])
            super().__init__(**arguments)

    monkeypatch.setattr("octohooks.Octohooks", Client)
    assert run("application", "list", *options).exit_code == 0
    assert seen == [tls]
