"""What happened when one attempt was made."""

from datetime import datetime, timedelta
from typing import NamedTuple

from octohooks.v1.attempt_pb2 import ErrorKind

MAX_BODY_BYTES = 16 * 1024
MAX_HEADER_BYTES = 16 * 1024


class Exchange(NamedTuple):
    """One request, and the response to it or what went wrong instead.

    `status` is only ever that of a response that came as a whole, or of one whose body was longer
    than what is kept. An exchange that ended in any other way (no response, a body that stopped or
    dripped past the timeout) has status 0, no headers and no body, even if a status line had come:
    the receiver never finished saying so.
    """

    started_at: datetime
    duration: timedelta
    """From the beginning, name look-up included, to the end of the response or the failure."""
    status: int
    """The HTTP status; 0 when there was no whole response."""
    headers: tuple[tuple[str, str], ...]
    """The response's headers in their order, as many as fit whole into the first 16 KiB."""
    body: bytes
    """The first 16 KiB of the response's body as they came, never decompressed."""
    truncated: bool
    """Whether the response's body was longer."""
    error_kind: ErrorKind.ValueType
    """Why the attempt failed; `ERROR_KIND_UNSPECIFIED` when the status is 2xx."""
    error_detail: str
    """A sentence for people about the failure, at most 200 characters; empty without one."""
