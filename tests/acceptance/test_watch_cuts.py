"""However a watch is cut and whenever the server is killed, it shows all attempts in one order."""

import pytest

from tests.acceptance.conftest import StartServer
from tests.acceptance.cuts import SETTINGS, Run
from tests.postgresql import Cluster


@pytest.mark.timeout(180)
async def test_what_watches_show_over_cuts_and_crashes_is_the_list_of_attempts(
    start_server: StartServer,
) -> None:
    """None is missing, none comes twice, none is out of order: for watches of the SDK, which go on
    by themselves, and for streams that are taken up at tokens chosen at random."""
    server = await start_server(**SETTINGS)
    report = await Run(server, attempts=2_000, seed=20).result()
    assert report.problems() == []
    assert len(report.listed) > 1_500
    assert report.counts["kills"]
    assert report.counts["cuts"]
    assert report.counts["streams taken up by token"]


@pytest.mark.timeout(240)
async def test_so_it_is_with_two_servers_on_one_database_where_commits_land_late(
    start_server: StartServer, cluster: Cluster
) -> None:
    name = await cluster.create_empty()
    url = cluster.url(name)
    servers = [await start_server(database_url=url, **SETTINGS) for _ in range(2)]
    report = await Run(*servers, attempts=2_000, seed=21, database_url=url).result()
    assert report.problems() == []
    assert len(report.listed) > 1_500
    assert report.counts["kills"]
    assert report.counts["streams taken up by token"]
    assert report.counts["transactions held open"]
    for server in servers:
        server.discard()
    await cluster.drop(name)
