"""How much a caller may attach to an entity as metadata or tags."""

import json
from collections.abc import Mapping

MAX_BYTES = 4096


def metadata_problem(metadata: Mapping[str, str]) -> str | None:
    """Why this is too much, as a sentence; None when it is not.

    The size is that of the shortest JSON in UTF-8.
    """
    if not metadata:
        return None
    text = json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_BYTES:
        return f"As JSON it has {size} bytes; at most {MAX_BYTES} are kept."
    return None
