"""Payloads that carry the time of their sending, for whoever receives them on the same machine."""

import time

_BEGIN = b'{"sent_at":'
_DIGITS = 19
STAMP_BYTES = len(_BEGIN) + _DIGITS


class Payloads:
    """Makes payloads of one size."""

    def __init__(self, size: int) -> None:
        """`size` is in bytes, and at least 50."""
        end = b',"filling":"%s"}'
        filling = b"x" * (size - STAMP_BYTES - len(end % b""))
        self._end = end % filling

    def now(self) -> bytes:
        """A payload that is sent now."""
        return b"%s%019d%s" % (_BEGIN, time.time_ns(), self._end)


def sent_at(body: bytes, start: int = 0) -> int:
    """When the payload that begins at `start` was sent, in nanoseconds since the epoch.

    The first `STAMP_BYTES` bytes are enough.
    """
    return int(body[start + len(_BEGIN) : start + STAMP_BYTES])
