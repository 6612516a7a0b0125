"""Waiting for what a server does by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Less than a test may take, so that it says what it waited for.
_DEADLINE_SECONDS = 50.0
_PAUSE_SECONDS = 0.005


async def eventually(look: Callable[[], Awaitable[T]], *, deadline: float = _DEADLINE_SECONDS) -> T:
    """What `look` answers, once it answers something true; it is asked again until then.

    Each look has to await something real, such as a call, so that the server gets its turns in
    between. Between looks the processor is left to other processes for a moment. TimeoutError, with
    what was seen last, when the deadline (in seconds) is over.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    while not (seen := await look()):
        if loop.time() > ends_at:
            raise TimeoutError(f"not within {deadline:g} s; last seen: {seen!r}")
        await asyncio.sleep(_PAUSE_SECONDS)
    return seen
