"""Waiting for what may not happen."""

import asyncio
from contextlib import suppress


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Returns once the event is set, or when so many seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
