"""Whether everything that was accepted has arrived."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """How what arrived differs from what was to arrive."""

    # Requests that were to come.
    expected: int
    # Of these, how many never came.
    missing: int
    # Requests that came once more than they should.
    repeated: int
    # Requests for messages or endpoints that nobody had asked for.
    unexpected: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lost, and nothing came from nowhere."""
        return self.missing == 0 and self.unexpected == 0


def verify(
    accepted: Iterable[tuple[str, int]],
    endpoints_of: Callable[[int], Sequence[int]],
    requests_to: Callable[[int], int],
    arrived: Iterable[tuple[str, int]],
) -> Verdict:
    """Compares messages that were accepted, each for an application, with what came for endpoints.

    `requests_to` an endpoint is how many each of its deliveries was to lead to.
    """
    wanted: Counter[tuple[str, int]] = Counter()
    for message_id, application in accepted:
        for endpoint in endpoints_of(application):
            wanted[message_id, endpoint] = requests_to(endpoint)
    came = Counter(arrived)
    surplus = came - wanted
    unexpected = sum(count for key, count in surplus.items() if key not in wanted)
    return Verdict(
        expected=wanted.total(),
        missing=(wanted - came).total(),
        repeated=surplus.total() - unexpected,
        unexpected=unexpected,
    )
