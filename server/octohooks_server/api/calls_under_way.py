"""How many calls are being served."""

import asyncio


class CallsUnderWay:
    """Counts calls: each is served inside a `with` block of this."""

    def __init__(self) -> None:
        self.count = 0
        """How many there are."""
        self._next_end: asyncio.Event | None = None

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *exception: object) -> None:
        self.count -= 1
        if self._next_end is not None:
            self._next_end.set()
            self._next_end = None

    def next_end(self) -> asyncio.Event:
        """An event that is set when the next call ends."""
        if self._next_end is None:
            self._next_end = asyncio.Event()
        return self._next_end
