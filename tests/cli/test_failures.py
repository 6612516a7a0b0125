"""What goes wrong is told in sentences, and by the exit code."""

import shlex

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from octohooks.v1.application_service_pb2 import ListApplicationsResponse

from tests.cli.conftest import Run, Start
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer, refuse


def test_a_refusal_is_one_line_on_standard_error(run: Run, server: FakeServer) -> None:
    server.on(
        "GetApplication",
        lambda request, context: refuse(
            context,
            grpc.StatusCode.NOT_FOUND,
            "there is no application nobody",
            ErrorInfo(reason="NOT_FOUND"),
        ),
    )
    result = run("application", "get", "nobody")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "Error: there is no application nobody\n"


def test_each_field_that_is_wrong_has_a_line(run: Run, server: FakeServer) -> None:
    violations = [
        {"field": "endpoint.url", "description": "must be http or https"},
        {"field": "endpoint.uid", "description": "may not begin with ep_"},
    ]
    server.on(
        "CreateEndpoint",
        lambda request, context: refuse(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            "two fields are wrong",
            BadRequest(field_violations=violations),
            ErrorInfo(reason="INVALID_FIELD"),
        ),
    )
    result = run("endpoint", "create", "a", "--url", "ftp://x")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: two fields are wrong",
        "  endpoint.url: must be http or https",
        "  endpoint.uid: may not begin with ep_",
    ]


def test_a_message_that_names_the_field_itself_is_not_said_twice(
    run: Run, server: FakeServer
) -> None:
    server.on(
        "CreateEndpoint",
        lambda request, context: refuse(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            "endpoint.url: must be http or https",
            BadRequest(
                field_violations=[{"field": "endpoint.url", "description": "must be http or https"}]
            ),
            ErrorInfo(reason="INVALID_FIELD"),
        ),
    )
    result = run("endpoint", "create", "a", "--url", "ftp://x")
    assert result.stderr == "Error: endpoint.url: must be http or https\n"


def test_a_defect_of_the_server_is_told_with_what_finds_it_in_the_log(
    run: Run, server: FakeServer
) -> None:
    server.on(
        "GetJob",
        lambda request, context: refuse(
            context,
            grpc.StatusCode.INTERNAL,
            "something broke",
            ErrorInfo(reason="INTERNAL", metadata={"correlation_id": "c0ffee"}),
        ),
    )
    assert run("job", "get", "job_1").stderr == "Error: something broke (request c0ffee)\n"


def test_a_refusal_in_the_middle_of_a_list_still_shows_what_came_before(
    run: Run, server: FakeServer
) -> None:
    def page(request: object, context: grpc.ServicerContext) -> ListApplicationsResponse:
        if len(server.received) > 1:
            refuse(context, grpc.StatusCode.INTERNAL, "no more")
        return made(
            ListApplicationsResponse, applications=[{"id": "app_1"}], next_page_token="more"
        )

    server.on("ListApplications", page)
    result = run("application", "list", "--json")
    assert (result.exit_code, result.stdout) == (1, '{"id": "app_1"}\n')
    assert result.stderr == "Error: no more\n"


def test_a_server_that_is_not_there_is_told_with_what_to_do(run: Run, server: FakeServer) -> None:
    server.stop()
    result = run("application", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: no server answers at {server.target} (")
    assert "octohooks serve" in result.stderr


def test_a_server_cannot_steer_the_terminal_by_its_errors(run: Run, server: FakeServer) -> None:
    server.on(
        "GetJob",
        lambda request, context: refuse(context, grpc.StatusCode.NOT_FOUND, "no \x1b[2J"),
    )
    assert run("job", "get", "x").stderr == "Error: no \\x1b[2J\n"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "application nonsense",
        "application get",
        "application list --limit -1",
        "application create --rate-limit many",
        "application create --metadata no-separator",
        "endpoint create a",
        "endpoint create a --url http://x --signature-type rot13",
        "endpoint create a --url http://x --retry-schedule soon",
        "endpoint recover a ep",
        "endpoint recover a ep --since yesterday",
        "delivery list --status lost",
        "message create a --event-type e",
        "application create --rate-limit 99999999999",
        "message create a --event-type e --payload 1 --idempotency-key ''",
        "listen --status 99",
        "listen --port 70000",
        "listen --secret whsec_short",
        "listen --register a --secret whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        "watch --since soon",
    ],
)
def test_a_wrong_call_has_exit_code_2_and_asks_nothing_of_the_server(
    run: Run, server: FakeServer, line: str
) -> None:
    result = run(*shlex.split(line))
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert server.received == []


def test_an_argument_that_is_no_text_is_told_without_a_traceback(start: Start) -> None:
    process = start("application", "get", "\udcff")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith("Error: ")
    assert len(errors.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_error(start: Start, server: FakeServer) -> None:
    server.on(
        "ListApplications",
        lambda request, context: made(
            ListApplicationsResponse, applications=[{"id": "app_1"}], next_page_token="more"
        ),
    )
    for arguments in (["application", "list", "--limit", "0", "--json"], ["application", "list"]):
        process = start(*arguments)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.wait()
        assert process.stderr.read() == ""
