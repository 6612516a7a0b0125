"""Plain Python values into protobuf messages, and what is refused on the way."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, get_args

import pytest
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from octohooks import values
from octohooks.convert import filled, json_text
from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from octohooks.v1.application_pb2 import Application
from octohooks.v1.attempt_pb2 import AttemptOutcome
from octohooks.v1.attempt_service_pb2 import AttemptEventKind
from octohooks.v1.delivery_pb2 import DeliveryStatus
from octohooks.v1.endpoint_pb2 import Endpoint, SignatureType
from octohooks.v1.endpoint_service_pb2 import RotateEndpointSecretRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.message_pb2 import Message
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.v1.retry_schedule_pb2 import RetrySchedule


def test_protobuf_values_are_taken_as_they_are() -> None:
    schedule = RetrySchedule(steps=[Duration(seconds=1)])
    assert filled(Endpoint(), {"retry_schedule": schedule}).retry_schedule == schedule
    time = Timestamp(seconds=5, nanos=7)
    assert filled(ApiKey(), {"expire_time": time}).expire_time == time
    overlap = Duration(seconds=5, nanos=7)
    assert filled(RotateEndpointSecretRequest(), {"overlap": overlap}).overlap == overlap


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100)))
def test_a_timedelta_keeps_its_microseconds(value: timedelta) -> None:
    message = filled(Message(), {"payload_retention": value})
    assert message.payload_retention.ToTimedelta() == value


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_a_datetime_keeps_its_microseconds(value: datetime) -> None:
    time = value.replace(tzinfo=UTC)
    assert filled(ApiKey(), {"expire_time": time}).expire_time.ToDatetime(tzinfo=UTC) == time


def test_a_datetime_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expire_time: .* time zone"):
        filled(ApiKey(), {"expire_time": datetime(2026, 7, 1)})


@pytest.mark.parametrize(
    ("message", "arguments", "sentence"),
    [
        (Application(), {"nmae": "x"}, "unexpected keyword argument 'nmae'"),
        (Application(), {"name": 5}, "name: "),
        (Application(), {"metadata": {"a": 1}}, "metadata: "),
        (Endpoint(), {"event_types": "invoice.paid"}, "event_types: .*not a single string"),
        (Endpoint(), {"channels": b"eu"}, "channels: .*not a single string"),
        (Endpoint(), {"retry_schedule": 5}, "retry_schedule: "),
        (ApiKey(), {"expire_time": 5}, "expire_time: .*datetime"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(
    message: Any, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        filled(message, arguments)


@pytest.mark.parametrize("name", ["sha1", "ED25519", "unspecified", "SIGNATURE_TYPE_ED25519", ""])
def test_an_unknown_enum_name_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"signature_type: .* is none of hmac_sha256, ed25519"):
        filled(Endpoint(), {"signature_type": name})


@pytest.mark.parametrize(
    ("value_type", "enum"),
    [
        (values.ApiKeyRoleValue, ApiKeyRole.DESCRIPTOR),
        (values.SignatureTypeValue, SignatureType.DESCRIPTOR),
        (values.DeliveryStatusValue, DeliveryStatus.DESCRIPTOR),
        (values.AttemptOutcomeValue, AttemptOutcome.DESCRIPTOR),
        (values.AttemptEventKindValue, AttemptEventKind.DESCRIPTOR),
    ],
)
def test_type_checkers_know_every_name_of_an_enum(value_type: Any, enum: EnumDescriptor) -> None:
    literal, number = get_args(value_type)
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    assert number is int
    assert {prefix + name.upper() for name in get_args(literal)} == {
        value.name for value in enum.values if value.number
    }


OUTPUT_ONLY = {
    "id",
    "application",
    "create_time",
    "update_time",
    "disable_reason",
    "failing_since",
    "payload_deleted",
    "payload_expire_time",
    "environment",
    "display_prefix",
    "last_used_time",
}


@pytest.mark.parametrize(
    ("arguments", "message", "explicit"),
    [
        (values.EnvironmentChanges, Environment, set()),
        (values.ApiKeyValues, ApiKey, set()),
        (values.ApplicationValues, Application, set()),
        (values.EventTypeValues, EventType, {"name"}),
        (values.EndpointChanges, Endpoint, set()),
        (values.OperationalWebhookChanges, OperationalWebhook, set()),
        (values.MessageValues, Message, {"event_type", "payload"}),
    ],
)
def test_type_checkers_know_every_field_that_a_caller_can_set(
    arguments: Any, message: Any, explicit: set[str]
) -> None:
    fields = set(message.DESCRIPTOR.fields_by_name)
    known = fields - OUTPUT_ONLY - explicit
    if message is ApiKey:
        # Other entities belong to one by the request that makes them.
        known.add("application")
    assert arguments.__annotations__.keys() == known


class ReadOnly(Sequence[int]):
    """A sequence that is neither a list nor a tuple."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return [1, 2][index]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é"]}, '{"b":1,"a":[true,null,"é"]}'),
        ([], "[]"),
        (("a", 1.5), '["a",1.5]'),
        (MappingProxyType({"a": MappingProxyType({"b": ReadOnly()})}), '{"a":{"b":[1,2]}}'),
        ('{ "a" : 1 }', '{ "a" : 1 }'),
        (b'{ "a" : 1 }\n', '{ "a" : 1 }\n'),
    ],
)
def test_a_document_is_written_compactly_unless_it_is_text_already(value: Any, text: str) -> None:
    assert json_text(value) == text.encode()


# Lone surrogates are not Unicode text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda children: st.lists(children) | st.dictionaries(texts, children),
    max_leaves=10,
)


@given(st.dictionaries(texts, json_values, max_size=5))
def test_a_document_reads_as_it_was_written(value: Mapping[str, Any]) -> None:
    assert json.loads(json_text(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {"a": datetime(2026, 7, 1)},
        {1, 2},
    ],
)
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        json_text(value)
