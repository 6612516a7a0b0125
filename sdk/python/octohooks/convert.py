"""Plain Python values into protobuf messages."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from octohooks.v1.retry_schedule_pb2 import RetrySchedule
from octohooks.values import JsonValue

M = TypeVar("M", bound=Message)


def filled(message: M, values: Mapping[str, Any]) -> M:
    """The message, after each of its fields that `values` names took the value; `None` leaves a
    field unset.

    Raises:
        TypeError: there is no such field, or it takes another type of value.
        ValueError: the value is not among those that the field can have.
    """
    fields = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        if name not in fields:
            raise TypeError(f"unexpected keyword argument {name!r}")
        if value is not None:
            try:
                _set(message, fields[name], value)
            except TypeError as error:
                raise TypeError(f"{name}: {error}") from error
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return message


def json_text(value: JsonValue) -> bytes:
    """The document as JSON text in UTF-8: `str` and `bytes` are taken as JSON text already and stay
    as they are; anything else is written compactly.

    Raises:
        TypeError: it holds something that JSON has no form for, such as a `datetime`.
        ValueError: it holds NaN or an infinity, refers to itself, or is not Unicode.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
    ).encode()


def duration(value: timedelta | float | Duration) -> Duration:
    """The duration; a number means seconds."""
    if isinstance(value, Duration):
        return value
    result = Duration()
    result.FromTimedelta(value if isinstance(value, timedelta) else timedelta(seconds=value))
    return result


def timestamp(value: datetime | Timestamp) -> Timestamp:
    """The point in time.

    Raises:
        ValueError: the `datetime` has no time zone.
    """
    if isinstance(value, Timestamp):
        return value
    if not isinstance(value, datetime):
        raise TypeError(f"a datetime is needed, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError("a datetime needs a time zone, as in datetime.now(timezone.utc)")
    result = Timestamp()
    result.FromDatetime(value)
    return result


def _plain(value: object) -> object:
    # The standard encoder knows dict and list only, not the other mappings and sequences.
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _set(message: Message, field: Any, value: Any) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name).update(value)
    elif field.is_repeated:
        if isinstance(value, (str, bytes)):
            raise TypeError("a sequence is needed, not a single string")
        getattr(message, field.name).extend(_single(field, item) for item in value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(_single(field, value))
    else:
        setattr(message, field.name, _single(field, value))


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return _enum_number(field.enum_type, value) if isinstance(value, str) else value
    match field.message_type and field.message_type.full_name:
        case "google.protobuf.Timestamp":
            return timestamp(value)
        case "google.protobuf.Duration":
            return duration(value)
        case "octohooks.v1.RetrySchedule" if not isinstance(value, RetrySchedule):
            return RetrySchedule(steps=[duration(step) for step in value])
        case _:
            return value


def _enum_number(enum: EnumDescriptor, name: str) -> int:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    numbers = {
        value.name.removeprefix(prefix).lower(): value.number
        for value in enum.values
        if value.number
    }
    if name not in numbers:
        raise ValueError(f"{name!r} is none of {', '.join(numbers)}")
    return numbers[name]
