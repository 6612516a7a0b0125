import json
import signal
import subprocess
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from octohooks.v1.endpoint_service_pb2 import GetEndpointSecretResponse
from standardwebhooks import Webhook

from tests.cli.conftest import Run, Start
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer, refuse

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def send(url: str, body: str = '{"id":1}', message_id: str = "msg_1") -> int:
    """Posts a signed request."""
    now = datetime.now(UTC)
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(message_id, now, body),
    }
    connection.request("POST", "/", body=body, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_request_is_shown_with_its_verdict_and_its_body_in_readable_form(start: Start) -> None:
    process = start("listen", "--port", "0", "--secret", SECRET)
    url = line(process).removeprefix("Listening at ").removesuffix(" (Ctrl-C ends it)")
    assert send(url) == 200
    head = line(process)
    assert "POST /  msg_1  signature verified  answered 200" in head
    assert [line(process) for _ in range(3)] == ["{", '  "id": 1', "}"]


def test_without_a_secret_it_says_that_signatures_are_not_checked(start: Start) -> None:
    process = start("listen", "--port", "0")
    url = line(process).split()[2]
    send(url)
    assert "not checked (no --secret)" in line(process)


def test_a_body_that_is_no_json_is_shown_without_steering_the_terminal(start: Start) -> None:
    process = start("listen", "--port", "0", "--secret", SECRET)
    url = line(process).split()[2]
    send(url, body="\x1b[2J hello")
    assert "signature WRONG: the body is not JSON" in line(process)
    assert line(process) == "\\x1b[2J hello"


def test_control_characters_within_json_do_not_steer_the_terminal(start: Start) -> None:
    process = start("listen", "--port", "0")
    url = line(process).split()[2]
    send(url, body='"\\u009b2J"')
    line(process)
    assert line(process) == '"\\x9b2J"'


def test_json_is_the_url_and_then_a_line_for_each_request(start: Start) -> None:
    process = start("listen", "--port", "0", "--secret", SECRET, "--fail-first", "1", "--json")
    url = json.loads(line(process))["url"]
    assert [send(url), send(url, message_id="msg_2")] == [500, 200]
    first, second = json.loads(line(process)), json.loads(line(process))
    assert (first["status"], second["status"]) == (500, 200)
    assert second["webhook_id"] == "msg_2"
    assert second["verified"] is True
    assert second["body"] == '{"id":1}'
    assert second["headers"]["webhook-id"] == "msg_2"


def test_ctrl_c_ends_it_quietly(start: Start) -> None:
    process = start("listen", "--port", "0")
    line(process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_port_that_is_taken_fails_with_a_sentence(run: Run, start: Start) -> None:
    process = start("listen", "--port", "0", "--json")
    port = str(urlsplit(json.loads(line(process))["url"]).port)
    result = run("listen", "--port", port)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot listen at 127.0.0.1 port {port}")


def answer_secret(server: FakeServer) -> None:
    server.on(
        "GetEndpointSecret",
        lambda request, context: made(
            GetEndpointSecretResponse, secrets=[{"secret": SECRET}, {"secret": "whsec_of-before"}]
        ),
    )


@pytest.mark.parametrize(("signal_", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_can_register_itself_for_as_long_as_it_runs(
    start: Start, server: FakeServer, signal_: signal.Signals, exit_code: int
) -> None:
    answer_secret(server)
    process = start("listen", "--port", "0", "--register", "some-user", "--json")
    url = json.loads(line(process))["url"]
    send(url)
    assert json.loads(line(process))["verified"] is True
    (update,) = server.requests("UpdateEndpoint")
    assert (update.application, update.values.url) == ("some-user", url)
    assert update.allow_missing
    assert server.requests("DeleteEndpoint") == []

    process.send_signal(signal_)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (exit_code, "")
    (delete,) = server.requests("DeleteEndpoint")
    assert (delete.application, delete.endpoint) == ("some-user", update.endpoint)


def test_it_makes_the_application_that_it_registers_with(start: Start, server: FakeServer) -> None:
    answer_secret(server)
    line(start("listen", "--port", "0", "--register", "some-user", "--json"))
    (update,) = server.requests("UpdateApplication")
    assert (update.application, update.allow_missing) == ("some-user", True)


def test_a_server_that_refuses_the_registration_is_heard(run: Run, server: FakeServer) -> None:
    def refuse_url(request: Any, context: grpc.ServicerContext) -> None:
        refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the address is not public")

    server.on("UpdateEndpoint", refuse_url)
    result = run("listen", "--port", "0", "--register", "some-user")
    assert result.exit_code == 1
    assert result.stderr == "Error: the address is not public\n"
