"""Tables and details, on terminals (FORCE_COLOR tells rich that there is one) and in pipes."""

import re

import pytest
from octohooks.v1.application_service_pb2 import GetApplicationResponse, ListApplicationsResponse
from octohooks.v1.attempt_service_pb2 import ListDeliveriesResponse
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED

from tests.cli.conftest import Run
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer

APPLICATION_ID = "app_01KAS7Z3N5V0Q8W2E4R6T9Y1U3"
MESSAGE_ID = "msg_01KAS7Z3N5V0Q8W2E4R6T9Y1U3"
ENDPOINT_ID = "ep_01KAS7Z3N5V0Q8W2E4R6T9Y1U3"
RED = "\x1b[31m"


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def applications(server: FakeServer, *names: str) -> None:
    server.on(
        "ListApplications",
        lambda request, context: made(
            ListApplicationsResponse,
            applications=[{"id": APPLICATION_ID, "uid": "some-user", "name": n} for n in names],
        ),
    )


def deliveries(server: FakeServer) -> None:
    server.on(
        "ListDeliveries",
        lambda request, context: made(
            ListDeliveriesResponse,
            deliveries=[
                {
                    "message": MESSAGE_ID,
                    "endpoint": ENDPOINT_ID,
                    "event_type": "invoice.paid",
                    "status": DELIVERY_STATUS_FAILED,
                    "attempt_count": 8,
                }
            ],
        ),
    )


def test_a_list_is_a_table_with_a_head(run: Run, server: FakeServer) -> None:
    applications(server, "Ada", "Grace")
    result = run("application", "list")
    head, *rows = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    assert head == ["id", "uid", "name", "rate limit", "metadata", "create time"]
    assert rows == [[APPLICATION_ID, "some-user", name] for name in ("Ada", "Grace")]


def test_an_empty_list_is_a_table_without_rows(run: Run) -> None:
    assert len(run("application", "list").stdout.splitlines()) == 1


def test_a_pipe_gets_every_row_on_one_line_without_colours(run: Run, server: FakeServer) -> None:
    applications(server, "a long name " * 30)
    output = run("application", "list").stdout
    assert len(output.splitlines()) == 2
    assert "\x1b" not in output


@pytest.mark.parametrize("columns", ["20", "60", "80", "200"])
def test_ids_stay_whole_on_a_terminal_of_any_width(
    run: Run, server: FakeServer, columns: str
) -> None:
    deliveries(server)
    result = run("delivery", "list", env={"FORCE_COLOR": "1", "COLUMNS": columns})
    _, row = without_colours(result.stdout).splitlines()
    assert row.split()[:5] == [MESSAGE_ID, ENDPOINT_ID, "invoice.paid", "failed", "8"]


def test_a_terminal_shows_a_failure_in_red(run: Run, server: FakeServer) -> None:
    deliveries(server)
    assert f"{RED}failed" in run("delivery", "list", env={"FORCE_COLOR": "1"}).stdout


def test_a_long_name_is_folded_on_a_narrow_terminal(run: Run, server: FakeServer) -> None:
    name = "".join(chr(ord("a") + n % 26) for n in range(60))
    applications(server, name)
    result = run("application", "list", env={"FORCE_COLOR": "1", "COLUMNS": "80"})
    _, first, *more = without_colours(result.stdout).splitlines()
    assert APPLICATION_ID in first
    assert len(more) > 0
    folded = first.split()[2] + "".join(line.strip() for line in more)
    assert folded == name


def test_details_have_a_line_for_each_value(run: Run, server: FakeServer) -> None:
    server.on(
        "GetApplication",
        lambda request, context: made(
            GetApplicationResponse,
            application={
                "id": APPLICATION_ID,
                "name": "two\nlines [red]",
                "metadata": {"plan": "gold", "age": "3"},
            },
        ),
    )
    result = run("application", "get", "some-user")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        f"id        {APPLICATION_ID}",
        "name      two",
        "          lines [red]",
        "metadata  age=3",
        "          plan=gold",
    ]
