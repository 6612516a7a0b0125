"""How long to wait before connecting again."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `initial` up to `maximum`, each shortened at random by up to a half,
    so that many clients do not return at the same moment."""

    initial: timedelta = timedelta(milliseconds=200)
    maximum: timedelta = timedelta(seconds=30)
    random: Callable[[], float] = random.random

    def delay(self, failures: int) -> float:
        """The wait in seconds after this many failures in a row, 1 or more."""
        # Beyond 2 ** 32 nothing but the maximum is left, and a float would overflow in the end.
        longest: float = self.initial.total_seconds() * 2 ** min(failures - 1, 32)
        return min(longest, self.maximum.total_seconds()) * (1 - self.random() / 2)
