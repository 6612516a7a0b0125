"""How many requests per second each key may make of this server."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from octohooks_server.api.caller import Caller
from octohooks_server.errors import ResourceExhausted

# One second's worth may come at once.
_BURST_SECONDS = 1.0
_MOST_REMEMBERED = 10_000
# How many requests one call can bring.
MAX_BATCH = 100


class RequestLimits:
    """A token bucket for each key, kept as the time at which it is full again.

    What a request costs beyond what is left is taken from what comes: a batch passes as long as the
    bucket holds anything, and the requests after it wait the longer.
    """

    def __init__(
        self,
        default: int,
        *,
        seconds: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`default` is for keys without a limit of their own; 0 is none. `seconds` never fall."""
        self._default = default
        self._seconds = seconds
        self._sleep = sleep
        self._full_at: dict[str, float] = {}

    def take(self, caller: Caller, requests: int = 1) -> None:
        """Counts requests, or raises ResourceExhausted when the key has made too many."""
        rate = self._rate_of(caller)
        if rate == 0:
            return
        key = caller.api_key_id or ""
        now = self._seconds()
        full_at = max(self._full_at.get(key, 0.0), now)
        wait = full_at + 1 / rate - _BURST_SECONDS - now
        # A little less than nothing, since sums of fractions are not exact.
        if wait > 1e-9:
            raise ResourceExhausted(
                f"The API key makes more than {rate:,} requests per second.",
                reason="RATE_LIMITED",
                retry_after=timedelta(seconds=wait),
            )
        self._remember(key, full_at + requests / rate, now)

    def charge(self, caller: Caller, requests: int) -> None:
        """Counts more requests that came with one that was counted already."""
        rate = self._rate_of(caller)
        if rate and requests > 0:
            key, now = caller.api_key_id or "", self._seconds()
            self._remember(key, max(self._full_at.get(key, 0.0), now) + requests / rate, now)

    async def wait(self, caller: Caller) -> None:
        """Counts one request of a stream, and returns when its turn has come."""
        rate = self._rate_of(caller)
        if rate == 0:
            return
        key, now = caller.api_key_id or "", self._seconds()
        full_at = max(self._full_at.get(key, 0.0), now) + 1 / rate
        self._remember(key, full_at, now)
        if full_at - _BURST_SECONDS > now:
            await self._sleep(full_at - _BURST_SECONDS - now)

    def _rate_of(self, caller: Caller) -> int:
        if caller.is_operator:
            return 0
        return caller.max_requests_per_second or self._default

    def _remember(self, key: str, full_at: float, now: float) -> None:
        if len(self._full_at) >= _MOST_REMEMBERED and key not in self._full_at:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        self._full_at[key] = full_at
