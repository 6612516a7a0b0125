from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message as AnyMessage
from octohooks.v1.api_key_service_pb2 import CreateApiKeyResponse
from octohooks.v1.application_pb2 import Application
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.delivery_pb2 import Delivery
from octohooks.v1.endpoint_pb2 import Endpoint
from octohooks.v1.endpoint_service_pb2 import GetEndpointStatsResponse
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import EndpointExplanation
from octohooks.v1.retry_schedule_pb2 import RetrySchedule
from octohooks_cli.text import cell, details, printable

from tests.cli.messages import made


def shown(message: AnyMessage) -> dict[str, list[str]]:
    return {path: [value.plain for value in values] for path, values in details(message)}


def test_text_of_strangers_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\x9bc\rd") == "a\\x1b[2Jb\\x07\\x9bc\\x0dd"
    application = Application(name="\x1b[31mred", metadata={"k\x1b": "v\x1b"})
    assert cell(application, "name").plain == "\\x1b[31mred"
    assert cell(application, "metadata").plain == "k\\x1b=v\\x1b"


def test_text_keeps_its_lines_tabs_and_letters() -> None:
    assert printable("Zürich\n\t🐙") == "Zürich\n\t🐙"


def test_brackets_in_names_are_not_taken_for_colours() -> None:
    assert cell(Application(name="[red]x[/red]"), "name").plain == "[red]x[/red]"


def test_enums_are_shown_as_the_options_and_the_sdk_name_them() -> None:
    endpoint = made(Endpoint, signature_type="SIGNATURE_TYPE_HMAC_SHA256")
    assert cell(endpoint, "signature_type").plain == "hmac_sha256"
    attempt = made(Attempt, error_kind="ERROR_KIND_NAME_NOT_RESOLVED")
    assert cell(attempt, "error_kind").plain == "name_not_resolved"
    assert cell(Attempt(), "error_kind").plain == ""


def test_an_enum_value_of_a_later_release_is_shown_as_its_number() -> None:
    delivery = Delivery.FromString(b"\x28\x63")
    assert cell(delivery, "status").plain == "99"


@pytest.mark.parametrize(
    ("status", "colour"),
    [
        ("DELIVERY_STATUS_SUCCEEDED", "green"),
        ("DELIVERY_STATUS_FAILED", "red"),
        ("DELIVERY_STATUS_PENDING", "yellow"),
    ],
)
def test_a_status_has_the_colour_of_its_news(status: str, colour: str) -> None:
    spans = cell(made(Delivery, status=status), "status").spans
    assert [span.style for span in spans] == [colour]


def test_a_cell_finds_a_field_in_a_field() -> None:
    explanation = EndpointExplanation(delivery=Delivery(attempt_count=3))
    assert cell(explanation, "delivery.attempt_count").plain == "3"
    assert cell(EndpointExplanation(), "delivery.create_time").plain == ""


def test_lists_schedules_and_durations_are_short() -> None:
    endpoint = made(
        Endpoint,
        event_types=["a", "b"],
        retry_schedule=made(RetrySchedule, steps=[timedelta(0), timedelta(minutes=5)]),
    )
    assert cell(endpoint, "event_types").plain == "a, b"
    assert cell(endpoint, "retry_schedule").plain == "0s,5m"
    assert cell(made(Attempt, duration=timedelta(milliseconds=12)), "duration").plain == "12ms"


def test_times_are_those_of_the_clock_on_the_wall() -> None:
    now = datetime.now(UTC)
    assert (
        cell(made(Message, create_time=now), "create_time").plain == f"{now.astimezone():%H:%M:%S}"
    )


def test_details_hold_what_is_set_and_nothing_else() -> None:
    assert shown(Application(id="app_1", name="A")) == {"id": ["app_1"], "name": ["A"]}


def test_details_show_counts_that_are_zero() -> None:
    stats = shown(GetEndpointStatsResponse())
    assert stats["failed_deliveries"] == ["0"]
    assert "latency.p50" not in stats


def test_a_zero_that_stands_for_none_is_not_shown() -> None:
    assert "rate_limit" not in shown(Application())
    assert "response_status" not in shown(Attempt())


def test_details_go_into_fields_of_fields() -> None:
    response = made(CreateApiKeyResponse, key="secret", api_key={"id": "key_1"})
    assert shown(response) == {"api_key.id": ["key_1"], "key": ["secret"]}


def test_a_payload_is_shown_as_the_text_it_is() -> None:
    assert shown(made(Message, payload=b'{"a": "\xc3\xbc"}'))["payload"] == ['{"a": "ü"}']
    assert shown(made(Message, payload=b"\xff"))["payload"] == ["\\xff"]


def test_response_headers_have_a_line_each() -> None:
    attempt = made(
        Attempt,
        response_headers=[{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
        number=1,
    )
    assert shown(attempt)["response_headers"] == ["a: 1", "b: 2"]
