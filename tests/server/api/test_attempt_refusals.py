"""What AttemptService refuses, with the code, the reason and the field."""

from typing import Any

import pytest
from octohooks.v1.attempt_pb2 import AttemptOutcome
from octohooks.v1.attempt_service_pb2 import (
    AttemptEventKind,
    GetAttemptRequest,
    GetDeliveryRequest,
    ListAttemptsRequest,
    ListDeliveriesRequest,
    ResendDeliveryRequest,
    WatchAttemptsRequest,
)
from octohooks.v1.delivery_pb2 import DeliveryStatus

from tests.server.api.calls import Api

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

NO_MESSAGE = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_ENDPOINT = "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_ATTEMPT = "atmpt_01ARZ3NDEKTSV4RRFFQ69G5FAV"

LISTS = [
    pytest.param(ListDeliveriesRequest, id="deliveries"),
    pytest.param(ListAttemptsRequest, id="attempts"),
]


@pytest.mark.parametrize("request_type", LISTS)
@pytest.mark.parametrize(
    ("values", "fields"),
    [
        pytest.param({"page_size": -1}, ["page_size"], id="a negative page size"),
        pytest.param({"message": "m"}, ["application"], id="a message's UID alone"),
        pytest.param({"endpoint": "main"}, ["application"], id="an endpoint's UID alone"),
        pytest.param({"event_types": ["!"]}, ["event_types[0]"], id="a wrong event type"),
        pytest.param({"event_types": ["e"] * 51}, ["event_types"], id="51 event types"),
        pytest.param({"channels": ["", "a b"]}, ["channels[0]", "channels[1]"], id="channels"),
        pytest.param({"channels": ["c"] * 11}, ["channels"], id="11 channels"),
        pytest.param({"tags": {f"{n}": "" for n in range(11)}}, ["tags"], id="11 tags"),
        pytest.param({"after": {"seconds": 10**12}}, ["after"], id="a time that is none"),
        pytest.param(
            {"after": {"seconds": 9}, "before": {"seconds": 8}}, ["before"], id="an empty range"
        ),
    ],
)
async def test_a_list_refuses_and_names_the_fields(
    refusing: Api, request_type: Any, values: dict[str, Any], fields: list[str]
) -> None:
    refusal = await refusing.refusal(request_type(**values))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == fields


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        pytest.param(
            ListDeliveriesRequest(statuses=[DeliveryStatus.DELIVERY_STATUS_UNSPECIFIED]),
            "statuses[0]",
            id="status",
        ),
        pytest.param(
            ListAttemptsRequest(outcomes=[AttemptOutcome.ATTEMPT_OUTCOME_UNSPECIFIED]),
            "outcomes[0]",
            id="outcome",
        ),
        pytest.param(
            WatchAttemptsRequest(
                kinds=[
                    AttemptEventKind.ATTEMPT_EVENT_KIND_CANCELLED,
                    AttemptEventKind.ATTEMPT_EVENT_KIND_UNSPECIFIED,
                ]
            ),
            "kinds[1]",
            id="kind",
        ),
        pytest.param(WatchAttemptsRequest(event_types=["!"]), "event_types[0]", id="event type"),
        pytest.param(WatchAttemptsRequest(message="m"), "application", id="a UID alone"),
        pytest.param(WatchAttemptsRequest(application="\0"), "application", id="U+0000"),
        pytest.param(ListAttemptsRequest(application="\0"), "application", id="U+0000 in a list"),
        pytest.param(GetDeliveryRequest(application="a", message="m", endpoint="\0"), "endpoint"),
    ],
)
async def test_a_filter_is_refused_and_named(refusing: Api, request_: Any, field: str) -> None:
    refusal = await refusing.refusal(request_)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [field]


@pytest.mark.parametrize("request_type", [*LISTS, pytest.param(WatchAttemptsRequest, id="a watch")])
@pytest.mark.parametrize(
    ("values", "about"),
    [
        pytest.param({"application": "nobody"}, ("application", "nobody"), id="application"),
        pytest.param({"message": NO_MESSAGE}, ("message", NO_MESSAGE), id="a message's ID"),
        pytest.param({"endpoint": NO_ENDPOINT}, ("endpoint", NO_ENDPOINT), id="an endpoint's ID"),
        pytest.param({"application": "acme", "message": "n"}, ("message", "n"), id="its UID"),
        pytest.param({"application": "acme", "endpoint": "n"}, ("endpoint", "n"), id="UID"),
    ],
)
async def test_what_a_filter_names_has_to_exist(
    refusing: Api, request_type: Any, values: dict[str, str], about: tuple[str, str]
) -> None:
    refusal = await refusing.refusal(request_type(**values))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == about


@pytest.mark.parametrize(
    ("attempt", "code", "about"),
    [
        pytest.param("", "INVALID_ARGUMENT", ["attempt"], id="none given"),
        pytest.param(NO_ATTEMPT, "NOT_FOUND", ("attempt", NO_ATTEMPT), id="an unknown ID"),
        pytest.param("a-uid", "NOT_FOUND", ("attempt", "a-uid"), id="what is no ID"),
    ],
)
async def test_an_attempt_has_to_be_named_and_to_exist(
    refusing: Api, attempt: str, code: str, about: Any
) -> None:
    refusal = await refusing.refusal(GetAttemptRequest(attempt=attempt))

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about


@pytest.mark.parametrize(
    "request_type",
    [pytest.param(GetDeliveryRequest, id="get"), pytest.param(ResendDeliveryRequest, id="resend")],
)
@pytest.mark.parametrize(
    ("values", "code", "about"),
    [
        pytest.param({"message": ""}, "INVALID_ARGUMENT", ["message"], id="no message"),
        pytest.param({"endpoint": ""}, "INVALID_ARGUMENT", ["endpoint"], id="no endpoint"),
        pytest.param({"application": ""}, "INVALID_ARGUMENT", ["application"], id="UIDs alone"),
        pytest.param({"application": "n"}, "NOT_FOUND", ("application", "n"), id="application"),
        pytest.param({"message": "n"}, "NOT_FOUND", ("message", "n"), id="an unknown message"),
        pytest.param({"endpoint": "n"}, "NOT_FOUND", ("endpoint", "n"), id="unknown endpoint"),
    ],
)
async def test_a_delivery_has_to_be_named_and_to_exist(
    refusing: Api,
    request_type: Any,
    values: dict[str, str],
    code: str,
    about: Any,
) -> None:
    references = {"application": "acme", "message": "m", "endpoint": "main", **values}

    refusal = await refusing.refusal(request_type(**references))

    assert refusal.code == code
    assert (refusal.fields if code == "INVALID_ARGUMENT" else refusal.resource) == about


@pytest.mark.parametrize(
    ("message", "endpoint"), [("m", NO_ENDPOINT), (NO_MESSAGE, "main")], ids=["message", "endpoint"]
)
async def test_a_uid_needs_its_application(refusing: Api, message: str, endpoint: str) -> None:
    refusal = await refusing.refusal(GetDeliveryRequest(message=message, endpoint=endpoint))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["application"]
