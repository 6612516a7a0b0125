"""Places that endpoints share, by how quick they are known to be."""

from dataclasses import dataclass, field

# One in so many places is kept from endpoints that are not known to be quick, and one in so many
# from those that are known to be slow.
KEPT_FROM_UNPROVEN = 4
KEPT_FROM_SLOW = 2

Quick = bool | None
"""Whether an endpoint's last attempt was quick; None for one that was not tried lately."""


@dataclass(slots=True)
class Places:
    """A number of places, and how many of them are taken by which kind of endpoint.

    Quick endpoints may take all. A quarter is kept from those that are not known to be, so that any
    number of endpoints that never answer leaves places to those that do; and half from those that
    are known to be slow, so that they leave places to those that were not tried lately as well: new
    ones, and all of them after a start.
    """

    total: int
    taken: dict[Quick, int] = field(default_factory=lambda: dict.fromkeys((True, None, False), 0))

    def free(self, quick: Quick) -> int:
        """How many more an endpoint of this kind may take; less than none when too many are."""
        unproven = self.taken[None] + self.taken[False]
        free = self.total - self.taken[True] - unproven
        if quick is not True:
            free = min(free, self.total - self.total // KEPT_FROM_UNPROVEN - unproven)
        if quick is False:
            kept = self.total // KEPT_FROM_SLOW
            free = min(free, self.total - kept - self.taken[False])
        return free

    def take(self, quick: Quick, count: int = 1) -> None:
        """Takes places, or gives them back where the count is negative."""
        self.taken[quick] += count

    def part(self, kept: int) -> "Places":
        """A copy, in which this many places less are there to be taken."""
        return Places(self.total - kept, dict(self.taken))
