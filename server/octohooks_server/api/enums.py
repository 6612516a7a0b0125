"""Finds enum values that the contract does not know; protobuf itself lets them pass as numbers."""

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


def unknown_enum_values(message: Message) -> list[tuple[str, int]]:
    """The path and number of each enum field that holds a number without a name."""
    found: list[tuple[str, int]] = []
    _collect(message, "", found)
    return found


def has_enums(descriptor: Descriptor) -> bool:
    """Whether a message of this type can hold an enum value at all."""
    return bool(_fields_to_look_at(descriptor))


def _collect(message: Message, prefix: str, found: list[tuple[str, int]]) -> None:
    for field in _fields_to_look_at(message.DESCRIPTOR):
        value = getattr(message, field.name)
        path = prefix + field.name
        if field.enum_type is not None:
            known = field.enum_type.values_by_number
            if field.is_repeated:
                found.extend(
                    (f"{path}[{index}]", one) for index, one in enumerate(value) if one not in known
                )
            elif value not in known:
                found.append((path, value))
        elif field.is_repeated:
            for index, one in enumerate(value):
                _collect(one, f"{path}[{index}].", found)
        elif message.HasField(field.name):
            _collect(value, f"{path}.", found)


@cache
def _fields_to_look_at(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields that are enums or lead to one; none at all for most messages."""
    return tuple(
        field
        for field in descriptor.fields
        if field.enum_type is not None
        or (field.message_type is not None and _leads_to_an_enum(field.message_type))
    )


@cache
def _leads_to_an_enum(descriptor: Descriptor) -> bool:
    # Maps of the contract hold strings alone, and no request message refers to itself.
    if descriptor.GetOptions().map_entry or descriptor.full_name.startswith("google."):
        return False
    return bool(_fields_to_look_at(descriptor))
