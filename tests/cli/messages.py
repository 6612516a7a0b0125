"""Protobuf messages for tests, in few words."""

from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)


def made(kind: type[M], /, **fields: Any) -> M:
    """A message with these fields. protobuf takes dicts, datetimes and timedeltas in place of
    messages, which its types do not say."""
    return kind(**fields)
