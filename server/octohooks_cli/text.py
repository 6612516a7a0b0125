"""Protobuf messages as text for people."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from rich.text import Text

from octohooks_cli.times import format_duration, format_time

# Of these the protos say that 0 stands for none, or for what the operator set.
_ZERO_MEANS_NONE = frozenset(
    {"response_status", "rate_limit", "max_requests_per_second", "max_watches"}
)

_INTEGERS = frozenset(
    {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32}
)

_STYLES = {
    "succeeded": "green",
    "finished": "green",
    "matched": "green",
    "addressed": "green",
    "pending": "yellow",
    "running": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "disabled": "red",
}

# Control characters could move the cursor or colour the screen, and strangers wrote much of what is
# shown: names, URLs, bodies of responses.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
del _CONTROL[ord("\n")], _CONTROL[ord("\t")]


def printable(text: str) -> str:
    """The text with control characters other than line feeds and tabs written as escapes."""
    return text.translate(_CONTROL)


def local_time(time: datetime) -> str:
    """The time on this machine's clock, with its date unless that is today's."""
    return format_time(time, now=datetime.now(UTC))


def styled(word: str) -> Text:
    """The word in the colour that tells whether it is good news."""
    return Text(word, style=_STYLES.get(word, ""))


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """The name of an enum's value as the SDK takes it, such as `hmac_sha256`; empty for 0."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    if number == 0:
        return ""
    return value.name.removeprefix(enum.values[0].name.removesuffix("UNSPECIFIED")).lower()


def label(path: str) -> str:
    """What people call the field at the path."""
    return path.replace("_", " ").replace(".", " ")


def cell(message: Message, path: str) -> Text:
    """The text of the field at the dotted path; empty when it is unset."""
    *parents, name = path.split(".")
    for parent in parents:
        if not message.HasField(parent):
            return Text()
        message = getattr(message, parent)
    field = next(field for field in _fields(message) if field.name == name)
    return Text(", ").join(_values(message, field))


def details(message: Message, prefix: str = "") -> Iterator[tuple[str, list[Text]]]:
    """The path and the values of each field that is set, and of each count even when it is 0."""
    for field in _fields(message):
        path = prefix + field.name
        if _is_nested(field):
            if message.HasField(field.name):
                yield from details(getattr(message, field.name), f"{path}.")
        elif values := [value for value in _values(message, field) if value]:
            yield path, values


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    # The type stubs know two classes of descriptors, which are one at run time.
    return cast(Sequence[FieldDescriptor], message.DESCRIPTOR.fields)


def _is_nested(field: FieldDescriptor) -> bool:
    """Whether it holds one message that has no short form of its own."""
    kind = field.message_type
    return kind is not None and not field.is_repeated and kind.full_name not in _SHORT_FORMS


def _values(message: Message, field: FieldDescriptor) -> list[Text]:
    value: Any = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return [Text(printable(f"{key}={value[key]}")) for key in sorted(value)]
    if field.is_repeated:
        return [_text(field, item) for item in value]
    if field.message_type is not None and not message.HasField(field.name):
        return []
    return [_text(field, value)]


def _text(field: FieldDescriptor, value: Any) -> Text:
    if field.message_type is not None:
        short_form = _SHORT_FORMS.get(field.message_type.full_name, str)
        return Text(printable(short_form(value)))
    if field.enum_type is not None:
        return styled(enum_word(field.enum_type, value))
    if isinstance(value, bool):
        return Text("yes", style=_STYLES.get(field.name, "")) if value else Text()
    if field.cpp_type in _INTEGERS:
        return Text("" if value == 0 and field.name in _ZERO_MEANS_NONE else str(value))
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return Text(printable(value))


_SHORT_FORMS: dict[str, Any] = {
    "google.protobuf.Timestamp": lambda time: local_time(time.ToDatetime(tzinfo=UTC)),
    "google.protobuf.Duration": lambda duration: format_duration(duration.ToTimedelta()),
    "octohooks.v1.RetrySchedule": lambda schedule: ",".join(
        format_duration(step.ToTimedelta()) for step in schedule.steps
    ),
    "octohooks.v1.ResponseHeader": lambda header: f"{header.name}: {header.value}",
    "octohooks.v1.EventType": lambda event_type: event_type.name,
}
