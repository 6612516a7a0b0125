"""What UIDs, event types and channels may look like.

Each check returns what is wrong as a sentence, or None.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from octohooks_server.rules.ids import PREFIXES, looks_like_an_id

MAX_MESSAGE_CHANNELS = 5
MAX_ENDPOINT_CHANNELS = 10

_UID = re.compile(r"[a-zA-Z0-9\-_.]{1,256}")
_EVENT_TYPE = re.compile(r"[a-zA-Z0-9\-_.]{1,256}")
_CHANNEL = re.compile(r"[a-zA-Z0-9\-_.:/]{1,128}")


def uid_problem(uid: str) -> str | None:
    """A UID may not be mistaken for an ID, since either is good wherever the other is."""
    if not _UID.fullmatch(uid):
        return "A UID has 1 to 256 letters, digits, hyphens, underscores and dots."
    if looks_like_an_id(uid):
        return f"A UID does not begin as an ID does: {', '.join(PREFIXES)}."
    return None


@lru_cache(maxsize=1000)
def event_type_problem(event_type: str) -> str | None:
    """Event types are named, not described, by this."""
    if not _EVENT_TYPE.fullmatch(event_type):
        return "An event type has 1 to 256 letters, digits, hyphens, underscores and dots."
    return None


def channel_problem(channel: str) -> str | None:
    """A channel is case-sensitive."""
    if not _CHANNEL.fullmatch(channel):
        return (
            "A channel has 1 to 128 letters, digits, hyphens, underscores, dots, colons, slashes."
        )
    return None


def channel_count_problem(channels: Collection[str], *, limit: int) -> str | None:
    """`limit` is `MAX_MESSAGE_CHANNELS` or `MAX_ENDPOINT_CHANNELS`."""
    if len(channels) > limit:
        return f"There are at most {limit} channels, not {len(channels)}."
    return None
