"""Whatever several callers do at once, no call meets a defect and nothing is left behind."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fuzz.__main__ import failure_of
from tests.fuzz.fuzzing import fuzz, fuzzed_server, send_everywhere
from tests.fuzz.requests import Requests
from tests.postgresql import Cluster
from tests.server.api.home import Home
from tests.server.api.rpcs import RPCS

_CALLS = 600


@pytest.fixture(params=["sqlite", "postgresql"])
async def home(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Home]:
    """A place for a server, whose environments come and go at random."""
    if request.param == "sqlite":
        yield Home(tmp_path)
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    async with cluster.database() as url:
        yield Home(tmp_path, url)


async def test_random_calls_of_several_clients_meet_no_defect(home: Home) -> None:
    """`make soak` makes far more of them."""
    seed = random.SystemRandom().randrange(2**32)
    async with fuzzed_server(home) as (server, transactions):
        report = await fuzz(server, transactions, seed=seed, steps=_CALLS)
    assert not report.faults, failure_of(report, _CALLS)
    answered = sum(count for what, count in report.counts.items() if what.endswith(" OK"))
    assert answered > _CALLS / 10, report.counts


async def test_a_text_that_no_database_holds_is_refused_wherever_it_stands(home: Home) -> None:
    """PostgreSQL holds no U+0000."""
    async with fuzzed_server(home) as (server, _):
        report = await send_everywhere(server, "\0", times=2, seed=1)
    assert not report.faults, "\n".join(report.faults[:20])
    refused = [what for what in report.counts if what.endswith("INVALID_ARGUMENT")]
    assert len(refused) > len(RPCS) / 2


def test_requests_are_the_same_for_a_seed_and_others_for_another() -> None:
    def some(seed: int) -> list[list[bytes]]:
        requests = Requests(random.Random(seed), ("https://example.com/",))
        return [requests.of(rpc) for rpc in RPCS if "Audit" not in rpc.service]

    assert len(some(1)) > 40
    assert some(1) != some(2)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method)
def test_every_rpc_is_asked_in_ways_that_it_can_read_and_in_others(rpc: object) -> None:
    requests = Requests(random.Random(1), ("https://example.com/",))
    for_all = [one for _ in range(200) for one in requests.of(rpc)]  # type: ignore[arg-type]
    read = 0
    for data in for_all:
        try:
            rpc.request_type.FromString(data)  # type: ignore[attr-defined]
            read += 1
        except Exception:
            continue
    assert 0 < read < len(for_all)
