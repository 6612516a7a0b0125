"""Seeds that run with every change; `make soak` runs as many more as one asks for."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.__main__ import failure_of
from tests.simulation.simulation import simulate

# Seconds: they say how busy the machine is, and nothing of the server.
pytestmark = pytest.mark.timeout(300)

_CHUNKS = 40
_SEEDS_IN_A_CHUNK = 5


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_no_seed_breaks_a_promise_of_delivery(chunk: int) -> None:
    """Crashes, pauses, database errors and clock jumps lose nothing; see `invariants.py`."""
    first = chunk * _SEEDS_IN_A_CHUNK
    reports = [simulate(seed) for seed in range(first, first + _SEEDS_IN_A_CHUNK)]
    failures = [failure_of(report) for report in reports if report.violations]
    assert not failures, "\n" + "\n".join(failures)


def test_the_same_seed_does_the_same_in_another_process_with_other_hashes() -> None:
    seeds = "from tests.simulation.simulation import simulate\nfor seed in range(200, 206):\n"
    digests = {
        subprocess.run(
            [sys.executable, "-c", seeds + "    print(simulate(seed).trace.digest())"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_another_seed_does_something_else() -> None:
    assert simulate(0).trace.digest() != simulate(1).trace.digest()


def test_every_kind_of_fault_strikes_within_twenty_seeds() -> None:
    counts = sum((simulate(seed).counts for seed in range(300, 320)), Counter[str]())
    kinds = ("crashes", "pauses", "restarts", "outages", "database errors", "clock jumps")
    assert [kind for kind in kinds if counts[kind] == 0] == []
    assert counts["resends"] > 0
    assert counts["disablings"] + counts["deletions"] > 0
    assert counts["messages"] > 40
    assert counts["deliveries taken over"] > 10
