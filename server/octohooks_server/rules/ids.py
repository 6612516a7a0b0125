"""IDs: a ULID behind a prefix that names the kind, so that they sort by creation time.

The ULID is 48 bits of Unix milliseconds and 80 bits of chance, as 26 upper-case Crockford base32
characters (https://github.com/ulid/spec).
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta

ENVIRONMENT = "env_"
API_KEY = "key_"
APPLICATION = "app_"
ENDPOINT = "ep_"
MESSAGE = "msg_"
ATTEMPT = "atmpt_"
JOB = "job_"
AUDIT_EVENT = "audit_"

PREFIXES = (ENVIRONMENT, API_KEY, APPLICATION, ENDPOINT, MESSAGE, ATTEMPT, JOB, AUDIT_EVENT)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Ten bits at a time: half the look-ups of a table of single characters.
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
# The first character holds three bits only, since 26 characters could hold 130.
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")

# Any byte to one of the 32 characters, each equally likely.
_RANDOM_CHARACTER = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Of the 16 characters after the time, 12 are drawn anew in each millisecond, and 4 count on from a
# number drawn too.
_RANDOM_CHARACTERS = 12
_COUNTER_LIMIT = 1 << 20
_BYTES_FOR_ONE = _RANDOM_CHARACTERS + 3
_BYTES_AT_ONCE = _BYTES_FOR_ONE * 64


def is_id(reference: str, prefix: str) -> bool:
    """Whether `reference` is a well-formed ID of the kind that `prefix` names."""
    return reference.startswith(prefix) and _ULID.fullmatch(reference, pos=len(prefix)) is not None


def looks_like_an_id(uid: str) -> bool:
    """Whether `uid` begins as an ID does, whatever follows; such a UID could be taken for one."""
    return uid.startswith(PREFIXES)


def first_id(prefix: str, time: datetime, shift: timedelta = timedelta(0)) -> str:
    """What sorts before every ID of this kind that was made at `time + shift` or later.

    And behind all others; it is no ID itself.
    """
    milliseconds = max((time - _EPOCH + shift) // _MILLISECOND, 0)
    return prefix + "".join(_PAIRS[milliseconds >> shift & 1023] for shift in (40, 30, 20, 10, 0))


_NO_LOCK = nullcontext()


class IdFactory:
    """Makes IDs that strictly increase within the process, whatever the clock does.

    Within one millisecond, and while the clock is behind where it was, an ID is its predecessor
    plus one; so no two are alike, and the ULIDs sort in the order of making across all kinds.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        lock: AbstractContextManager[object] = _NO_LOCK,
    ) -> None:
        """`clock` gives an aware time, `random_bytes` (such as `os.urandom`) that many bytes.

        With a `lock`, any thread may make IDs; else one alone.
        """
        self._lock = lock
        self._clock = clock
        self._random_bytes = random_bytes
        self._random = b""
        self._random_used = 0
        self._milliseconds = -1
        self._head = ""
        self._counter = 0

    def new(self, prefix: str) -> str:
        """A new ID of the kind that `prefix` names."""
        with self._lock:
            milliseconds = (self._clock() - _EPOCH) // _MILLISECOND
            if milliseconds > self._milliseconds:
                self._begin(milliseconds)
            else:
                self._counter += 1
                if self._counter == _COUNTER_LIMIT:
                    # Half a million IDs or more in one millisecond: the next one is used already.
                    self._begin(self._milliseconds + 1)
            counter = self._counter
            return f"{prefix}{self._head}{_PAIRS[counter >> 10]}{_PAIRS[counter & 1023]}"

    def _begin(self, milliseconds: int) -> None:
        if self._random_used == len(self._random):
            self._random = self._random_bytes(_BYTES_AT_ONCE)
            self._random_used = 0
        start = self._random_used
        middle = start + _RANDOM_CHARACTERS
        self._random_used = end = start + _BYTES_FOR_ONE
        # The counter starts in the lower half of its range, so that the upper half is left to it.
        self._counter = int.from_bytes(self._random[middle:end]) % (_COUNTER_LIMIT // 2)
        self._milliseconds = milliseconds
        self._head = (
            f"{_PAIRS[milliseconds >> 40]}{_PAIRS[milliseconds >> 30 & 1023]}"
            f"{_PAIRS[milliseconds >> 20 & 1023]}{_PAIRS[milliseconds >> 10 & 1023]}"
            f"{_PAIRS[milliseconds & 1023]}"
            f"{self._random[start:middle].translate(_RANDOM_CHARACTER).decode('ascii')}"
        )
