"""Requests made at random over the descriptors: right ones, wrong ones, and mere bytes."""

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from tests.server.api.rpcs import Rpc

# So few names that calls meet each other's entities.
_NAMES = ("a", "a", "a", "b", "c")
_JUNK = (
    *(
        "",
        *["\0"] * 4,
        "'",
        "%",
        "\\",
        "\ud7ff",
        "\U0001f419",
        "x" * 300,
        "app_",
        "../..",
        "a" * 5_000,
    ),
    *(
        "ep_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "msg_",
        "{}",
        "operator",
        "http://[::",
        "https://10.0.0.1/",
        "-1",
    ),
)
_PAYLOADS = (b"{}", b'{"n":1}', b"[]", b"null", b'{"n":"text"}', b'"\\u0000"')
_JUNK_BYTES = (b"", b"{", b"[1e999]", b'"\xed\xa0\x80"', b"[" * 2_000, b"\0", b"x" * 400_000)
_SCHEMAS = ("", '{"type":"object"}', '{"properties":{"n":{"type":"number"}}}', "{", "true")
_DOCUMENT = '{"openapi":"3.1.0","info":{"title":"t","version":"1"},"webhooks":{"%s":{"post":{}}}}'
# What is set by the server alone, by message.
_OUTPUT_ONLY = {
    "id",
    "create_time",
    "update_time",
    "expire_time",
    "display_prefix",
    "last_used_time",
    "disable_reason",
    "failing_since",
    "payload_expire_time",
    "payload_deleted",
    "archived",
}
# What a request is about, and what an entity is nothing without.
_ABOUT = {
    *("api_key", "application", "attempt", "document", "endpoint", "environment", "event_type"),
    *("job", "message", "operational_webhook", "requests", "since", "values"),
}
_ENTITYS_OWN = {"url", "event_type", "payload", "name"}
# What narrows a list down, or only goes with something else.
_SELDOM = {
    *("page_token", "after", "before", "until", "actor", "methods", "resource", "role"),
    *("inline_application", "resume_token", "environment_id", "tags"),
}
_MOST_KEPT = 30
_MOST_SECONDS = 200_000


class Requests:
    """Makes requests; those that answers taught it names for are about what there is."""

    def __init__(self, draw: random.Random, urls: tuple[str, ...]) -> None:
        self._draw = draw
        self._urls = urls
        self._known: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_MOST_KEPT))

    def learn(self, answer: Message) -> None:
        """Remembers the IDs, tokens and keys that an answer holds."""
        kind = answer.DESCRIPTOR.name
        for field, value in answer.ListFields():
            if field.message_type is not None and not _is_map(field):
                for one in value if field.is_repeated else [value]:
                    self.learn(one)
            elif field.name == "id":
                self._known[kind].append(value)
            elif field.name in ("next_page_token", "resume_token", "key"):
                self._known[field.name].append(value)

    def url(self) -> str:
        """Where webhooks may be sent."""
        return self._draw.choice(self._urls)

    def known(self, kind: str) -> list[str]:
        """What was learned of a kind, such as `ApiKey`, or of a field, such as `key`."""
        return list(self._known[kind])

    def of(self, rpc: Rpc) -> list[bytes]:
        """One request, or some of a stream, as bytes."""
        count = self._draw.randint(0, 4) if rpc.client_streams else 1
        return [self._one(rpc) for _ in range(count)]

    def _one(self, rpc: Rpc) -> bytes:
        chance = self._draw.random()
        if chance < 0.05:
            return self._draw.randbytes(self._draw.randint(0, 40))
        # How often a field holds something senseless.
        junk = 0.0 if chance < 0.85 else 0.1 if chance < 0.93 else 0.6
        message = self._message(rpc.request_type(), junk, depth=0)
        if 0.7 < chance < 0.85:
            self._spoil_one_text(message)
        data: bytes = message.SerializeToString()
        if chance > 0.98:
            # Cut, or with one byte changed.
            position = self._draw.randrange(len(data) + 1)
            data = data[:position] + self._draw.randbytes(1) + data[position + 1 :]
        return data

    def with_each_text_as(self, rpc: Rpc, text: str) -> Iterator[tuple[str, bytes]]:
        """A right request with each of its texts replaced in turn, by the number of the text."""
        made = self._message(rpc.request_type(), 0.0, depth=0)
        for number in range(len(list(_spoilers(made)))):
            spoiled = type(made)()
            spoiled.CopyFrom(made)
            list(_spoilers(spoiled))[number](text)
            yield f"{rpc.method} {number}", spoiled.SerializeToString()

    def _spoil_one_text(self, message: Message) -> None:
        """Makes a request wrong that was right, in one place."""
        spoilers = list(_spoilers(message))
        if spoilers:
            self._draw.choice(spoilers)(self._junk())

    def _message(self, message: Any, junk: float, *, depth: int) -> Any:
        for field in message.DESCRIPTOR.fields:
            if self._draw.random() < self._chance_of(field, junk, depth):
                self._fill(message, field, junk, depth)
        return message

    def _chance_of(self, field: FieldDescriptor, junk: float, depth: int) -> float:
        if depth > 4:
            return 0.0
        if field.name in _OUTPUT_ONLY or (depth > 0 and field.name == "application"):
            return junk / 3
        if field.name in _SELDOM:
            return 0.1
        if depth == 0 and field.name in _ABOUT:
            return 0.97
        return 0.9 if field.name in _ENTITYS_OWN else 0.3

    def _fill(self, message: Any, field: FieldDescriptor, junk: float, depth: int) -> None:
        if _is_map(field):
            entries = getattr(message, field.name)
            for _ in range(self._draw.randint(0, 2)):
                entries[self._text("name", junk)] = self._text("value", junk)
            return
        count = self._draw.choice((0, 1, 1, 2, 3)) if field.is_repeated else 1
        for _ in range(count):
            value = self._value(message, field, junk, depth)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(value)
            else:
                setattr(message, field.name, value)

    def _value(self, message: Any, field: FieldDescriptor, junk: float, depth: int) -> Any:
        if field.message_type is not None:
            return self._inner(message, field, junk, depth)
        if field.enum_type is not None:
            numbers = [value.number for value in field.enum_type.values]
            return self._draw.choice((*numbers[1:], *([0, 77] if junk else [])))
        return _SCALARS[field.type](self, field, junk)

    def _inner(self, message: Any, field: FieldDescriptor, junk: float, depth: int) -> Any:
        assert field.message_type is not None
        senseless = self._draw.random() < junk
        match field.message_type.full_name:
            case "google.protobuf.Timestamp":
                seconds = self._draw.randint(-(2**62), 2**62) if senseless else self._about_now()
                return Timestamp(seconds=seconds)
            case "google.protobuf.Duration":
                seconds = self._draw.randint(-(2**62), 2**62) if senseless else self._span()
                return Duration(seconds=seconds)
            case "google.protobuf.FieldMask":
                fields = message.DESCRIPTOR.fields_by_name
                values = fields.get("values")
                paths = [one.name for one in values.message_type.fields] if values else ["name"]
                chosen = self._draw.sample(paths, self._draw.randint(0, min(3, len(paths))))
                return FieldMask(paths=[*chosen, *([self._junk()] if senseless else [])])
        return self._message(
            _new(message, field), junk, depth=depth + (0 if field.is_repeated and depth == 0 else 1)
        )

    def _text(self, name: str, junk: float) -> str:
        if self._draw.random() < junk:
            return self._junk()
        match name:
            case "url":
                return self.url()
            case "secret":
                return "" if self._draw.random() < 0.7 else "whsec_" + "A" * 32
            case "schema":
                return self._draw.choice(_SCHEMAS)
            case "examples":
                return self._draw.choice(_PAYLOADS).decode()
            case "document":
                return _DOCUMENT % self._draw.choice(_NAMES)
            case "page_token" | "resume_token":
                tokens = self._known["next_page_token" if name == "page_token" else name]
                return self._draw.choice(tokens) if tokens and self._draw.random() < 0.3 else ""
        ids = self._known.get("".join(part.capitalize() for part in name.split("_")))
        if ids and self._draw.random() < 0.5:
            return self._draw.choice(ids)
        return self._draw.choice(_NAMES)

    def _bytes(self, _: FieldDescriptor, junk: float) -> bytes:
        return self._draw.choice(_JUNK_BYTES if self._draw.random() < junk else _PAYLOADS)

    def _whole(self, field: FieldDescriptor, junk: float) -> int:
        if self._draw.random() < junk:
            unsigned = field.type in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64)
            return self._draw.choice((0, 2**31 - 1) if unsigned else (-1, 2**31 - 1, -(2**31)))
        return self._draw.choice((0, 0, 1, 3, 100))

    def _about_now(self) -> int:
        return int(time.time()) + self._draw.choice((0, -1, 1)) * self._draw.randint(0, 10_000)

    def _span(self) -> int:
        return self._draw.choice((0, 0, 1, 5, 3600, 86_400 * 30))

    def _junk(self) -> str:
        return self._draw.choice(_JUNK)


_SCALARS: dict[int, Callable[[Requests, FieldDescriptor, float], Any]] = {
    FieldDescriptor.TYPE_STRING: lambda self, field, junk: self._text(field.name, junk),
    FieldDescriptor.TYPE_BYTES: Requests._bytes,
    FieldDescriptor.TYPE_BOOL: lambda self, field, junk: self._draw.random() < 0.3,
    FieldDescriptor.TYPE_INT32: Requests._whole,
    FieldDescriptor.TYPE_INT64: Requests._whole,
    FieldDescriptor.TYPE_UINT32: Requests._whole,
    FieldDescriptor.TYPE_UINT64: Requests._whole,
}


def _spoilers(message: Any) -> Iterator[Callable[[str], None]]:
    """What replaces one of the texts that are set in a message, however deep."""
    for field, value in message.ListFields():
        if _is_map(field):
            for name in value:
                yield partial(value.__setitem__, name)
        elif field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                yield from _spoilers(one)
        elif field.type == FieldDescriptor.TYPE_STRING and field.is_repeated:
            for index in range(len(value)):
                yield partial(value.__setitem__, index)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield partial(setattr, message, field.name)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and bool(kind.GetOptions().map_entry)


def _new(message: Any, field: FieldDescriptor) -> Any:
    """An empty message of the field's type."""
    assert field.message_type is not None
    return GetMessageClass(field.message_type)()
