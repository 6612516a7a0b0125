"""Which headers an endpoint may have of its own.

They can neither replace what Octohooks and HTTP set themselves nor break the request apart.
"""

import re
from collections.abc import Mapping

MAX_HEADERS = 50
MAX_NAME_CHARACTERS = 256
MAX_VALUE_BYTES = 4096

FORBIDDEN_NAMES = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "user-agent",
    }
)
FORBIDDEN_PREFIXES = ("proxy-", "webhook-")

# A token of RFC 9110, section 5.6.2.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# The controls of ASCII and of Latin-1, and what some readers take for the end of a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def headers_problem(headers: Mapping[str, str]) -> str | None:
    """Why these cannot be an endpoint's headers, as a sentence; None when they can."""
    if len(headers) > MAX_HEADERS:
        return f"There are at most {MAX_HEADERS} headers, not {len(headers)}."
    seen: set[str] = set()
    for name, value in headers.items():
        problem = header_problem(name, value)
        if problem is not None:
            return problem
        if name.lower() in seen:
            return f"The header {name} is there twice; case makes no difference."
        seen.add(name.lower())
    return None


def header_problem(name: str, value: str) -> str | None:
    """Why this cannot be one of them, as a sentence that does not hold the value."""
    if len(name) > MAX_NAME_CHARACTERS:
        return f"A header's name has at most {MAX_NAME_CHARACTERS} characters."
    if not _NAME.fullmatch(name):
        return f"{name!r} is not a header's name: letters, digits and !#$%&'*+-.^_`|~ are."
    if is_forbidden(name):
        return f"The header {name} is not an endpoint's to set."
    if _CONTROL.search(value):
        return f"The value of {name} holds a control character."
    if value != value.strip():
        return f"The value of {name} begins or ends with a space, which HTTP does not carry."
    if len(value.encode(errors="replace")) > MAX_VALUE_BYTES:
        return f"The value of {name} has more than {MAX_VALUE_BYTES} bytes."
    return None


def is_forbidden(name: str) -> bool:
    """Whether Octohooks or HTTP sets this header itself; case makes no difference."""
    lower = name.lower()
    return lower in FORBIDDEN_NAMES or lower.startswith(FORBIDDEN_PREFIXES)
