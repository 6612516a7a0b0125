"""Wakes readers of an environment's event log when something was committed to it."""

import asyncio
from collections.abc import Callable, Collection


class Feed:
    """Tells that an environment has new events: within this process, and through others.

    It carries no events: readers take them from the database behind a number of their own, so a
    wake-up that is missed or comes twice does no harm.
    """

    def __init__(self, tell_others: Callable[[Collection[str]], None] | None = None) -> None:
        """`tell_others` passes what was announced here on to other processes."""
        self._tell_others = tell_others
        self._signals: dict[str, asyncio.Event] = {}
        self._counts: dict[str, int] = {}

    def announce(self, environment_ids: Collection[str]) -> None:
        """Says that events of these environments were committed."""
        self.wake(environment_ids)
        if self._tell_others is not None and environment_ids:
            self._tell_others(environment_ids)

    def wake(self, environment_ids: Collection[str]) -> None:
        """Wakes the readers in this process."""
        for id in environment_ids:
            self._counts[id] = self._counts.get(id, 0) + 1
            signal = self._signals.pop(id, None)
            if signal is not None:
                signal.set()

    def wake_all(self) -> None:
        """Wakes every reader in this process, since an announcement may have been missed."""
        self.wake({*self._signals, *self._counts})

    def next_change(self, environment_id: str) -> asyncio.Event:
        """An event that is set by the next announcement for this environment."""
        return self._signals.setdefault(environment_id, asyncio.Event())

    def count(self, environment_id: str) -> int:
        """How many announcements there were; a reader that saw this many need not read again."""
        return self._counts.get(environment_id, 0)
