"""What a server claims for others: as much as they have said that they take."""

import pytest
from octohooks.v1.message_pb2 import Message
from octohooks_server.delivery.handing_over import HandingOver
from octohooks_server.store.acceptance import Accepted

from tests.server.store.world import World


class Accepting:
    """A server that takes calls, at a time that the test moves on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tellings = 0
        self.handing_over = HandingOver(lambda: self.now, self._tell)

    def _tell(self) -> None:
        self.tellings += 1

    def claims(self, *endpoint_ids: str) -> list[str]:
        """Those of a group's deliveries, by their endpoints, that it would claim."""
        may_claim = self.handing_over.budget()
        return [id for id in endpoint_ids if may_claim(id)]


@pytest.fixture
def server() -> Accepting:
    return Accepting()


def test_nothing_is_claimed_until_somebody_offers_to_take_it(server: Accepting) -> None:
    assert server.claims("ep_1") == []
    server.handing_over.hear_offer([])
    assert server.claims("ep_1") == ["ep_1"]


def test_an_offer_that_is_not_repeated_ends(server: Accepting) -> None:
    server.handing_over.hear_offer([])
    server.now += 2
    server.handing_over.hear_offer([])
    server.now += 2.4
    assert server.claims("ep_1") == ["ep_1"]
    server.now += 0.1
    assert server.claims("ep_1") == []


def test_nothing_is_claimed_for_an_endpoint_for_a_second_after_it_was_full(
    server: Accepting,
) -> None:
    server.handing_over.hear_offer(["ep_1"])
    assert server.claims("ep_1", "ep_2") == ["ep_2"]
    server.now += 0.5
    server.handing_over.hear_offer(["ep_3"])
    server.now += 0.5
    assert server.claims("ep_1", "ep_2", "ep_3") == ["ep_1", "ep_2"]


def test_one_group_leaves_no_more_than_a_server_claims_at_once(server: Accepting) -> None:
    server.handing_over.hear_offer([])
    assert len(server.claims(*["ep_1"] * 300)) == 200
    assert len(server.claims(*["ep_1"] * 300)) == 200


async def test_others_are_told_now_and_then_of_what_was_left(
    server: Accepting, world: World
) -> None:
    application = await world.application()
    await world.endpoint(application)
    results = await world.accept(world.draft(application), may_claim=lambda _: True)
    for _ in range(10):
        server.handing_over.left(results)
        server.now += 0.01
    assert server.tellings == 2


def test_nobody_is_told_where_nothing_was_left(server: Accepting) -> None:
    server.handing_over.left([Accepted(Message(id="msg_1"))])
    assert server.tellings == 0
