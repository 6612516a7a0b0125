"""Runs small steps of background work while there is any, and looks again now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from octohooks_server.errors import OctohooksError
from octohooks_server.waiting import wait_at_most

log = structlog.get_logger()

# One transaction's worth of work; answers whether there may be more.
Step = Callable[[], Awaitable[bool]]

_SECONDS_BETWEEN_ROUNDS = 10.0
# Between two steps, so that calls and outcomes get their turns at the database.
_SECONDS_BETWEEN_STEPS = 0.01
_SECONDS_AFTER_A_FAILURE = 1.0


class Upkeep:
    """Takes the steps in turn while they have work, so that a long one holds up no other.

    Woken when somebody left some.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._wake = asyncio.Event()
        self._stopping = False
        self._last_step = asyncio.get_running_loop().time()

    def seconds_since_progress(self) -> float:
        """How long ago a step ended, well or not; a round begins every 10 seconds."""
        return asyncio.get_running_loop().time() - self._last_step

    def wake(self) -> None:
        """Says that there is work now."""
        self._wake.set()

    def stop(self) -> None:
        """Ends `run` after the step that is under way; what is left is found by the next start."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Works until `stop` is called."""
        while not self._stopping:
            await self._work()
            if self._stopping:
                return
            await wait_at_most(_SECONDS_BETWEEN_ROUNDS, self._wake)

    async def _work(self) -> None:
        """Takes the steps in turn until none of them has work."""
        self._wake.clear()
        left = list(self._steps)
        while left:
            for step in left.copy():
                if self._stopping:
                    return
                if not await self._has_more(step):
                    left.remove(step)
            if self._wake.is_set():
                self._wake.clear()
                left = list(self._steps)

    async def _has_more(self, step: Step) -> bool:
        try:
            has_more = await step()
        except Exception as error:
            expected = isinstance(error, OctohooksError)
            log.error("upkeep_failed", exc_info=None if expected else error)
            await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)
            return False
        finally:
            self._last_step = asyncio.get_running_loop().time()
        if has_more:
            await asyncio.sleep(_SECONDS_BETWEEN_STEPS)
        return has_more
