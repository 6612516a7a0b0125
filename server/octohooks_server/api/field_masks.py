"""Updates by field mask."""

from collections.abc import Collection
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from octohooks_server.errors import InvalidArgument

M = TypeVar("M", bound=Message)


def updated(current: M, values: M, mask: FieldMask, *, changeable: Collection[str]) -> M:
    """`current` with the fields of `values` that the mask names, whole.

    An empty mask names every field that is set in `values`. A path that is unknown, immutable,
    output-only or leads inside a field is InvalidArgument.
    """
    paths = list(mask.paths) or [field.name for field, _ in values.ListFields()]
    wrong = [path for path in paths if path not in changeable]
    if wrong:
        known = set(current.DESCRIPTOR.fields_by_name)
        raise InvalidArgument(
            (
                f"update_mask.paths[{paths.index(path)}]" if mask.paths else f"values.{path}",
                f"{path} cannot be changed." if path in known else f"There is no field {path}.",
            )
            for path in wrong
        )
    result = type(current)()
    result.CopyFrom(current)
    for path in paths:
        result.ClearField(path)
        chosen = type(current)()
        chosen.CopyFrom(values)
        for field, _ in values.ListFields():
            if field.name != path:
                chosen.ClearField(field.name)
        result.MergeFrom(chosen)
    return result
