"""Protobuf messages as JSON for programs."""

import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def json_line(message: Message, **more: str) -> str:
    """The message as protobuf's JSON on one line, with the fields named as in the protos, and with
    those of `more` that are not empty.

    Fields of bytes are text as it is instead of base64. Where the bytes are not UTF-8, a field with
    `_base64` behind its name holds them.
    """
    fields = MessageToDict(message, preserving_proto_field_name=True)
    _show_bytes(message, fields)
    fields |= {name: value for name, value in more.items() if value}
    return json.dumps(fields, ensure_ascii=False)


def _show_bytes(message: Message, fields: dict[str, Any]) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_BYTES:
            encoded = fields.pop(field.name)
            try:
                fields[field.name] = value.decode()
            except UnicodeDecodeError:
                fields[f"{field.name}_base64"] = encoded
        elif isinstance(fields[field.name], dict) and isinstance(value, Message):
            _show_bytes(value, fields[field.name])
        elif isinstance(fields[field.name], list):
            for item, item_fields in zip(value, fields[field.name], strict=True):
                if isinstance(item, Message) and isinstance(item_fields, dict):
                    _show_bytes(item, item_fields)
