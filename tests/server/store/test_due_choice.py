"""Which of what is due is taken next, so that nothing waits behind a backlog of others."""

from collections import Counter

import pytest
from octohooks_server.store import due_choice
from octohooks_server.store.due_choice import Choice

from tests.server.store.world import World, seconds


async def test_most_of_a_look_is_what_is_due_longest(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    sent = []
    for _ in range(40):
        sent += await world.send(application)
        world.pass_time(1)
    choice = await world.choose(limit=8)
    assert {message for _, message, _ in choice.keys[2:]} == set(sent[:6])
    assert choice.has_more


async def test_a_look_at_all_that_is_due_says_so(world: World) -> None:
    application = await world.application()
    await world.endpoint(application)
    await world.send(application, count=5)
    choice = await world.choose()
    assert (len(choice.keys), choice.has_more) == (5, False)
    await world.claim_chosen(choice)
    assert await world.choose() == Choice([], has_more=False, has_more_queues=False)


async def test_no_more_is_claimed_of_an_endpoint_than_it_has_room_for(world: World) -> None:
    application = await world.application()
    rooms = {}
    for room in (0, 1, 3):
        rooms[await world.endpoint(application)] = room
    await world.send(application, count=5)
    choice = await world.choose(room=rooms.__getitem__)
    claimed = await world.claim_chosen(choice)
    assert Counter(one.destination.endpoint_id for one in claimed.deliveries) == {
        id: room for id, room in rooms.items() if room
    }
    assert choice.has_more


async def test_the_backlog_of_one_endpoint_hides_no_other_endpoint_s_deliveries(
    world: World,
) -> None:
    """Twenty thousand that are due longer, and have no room, are jumped over."""
    dead_application = await world.application()
    dead = await world.endpoint(dead_application)
    for _ in range(20):
        await world.send(dead_application, count=1_000)
    world.pass_time(60)
    application = await world.application()
    alive = [await world.endpoint(application) for _ in range(20)]
    await world.send(application, count=2)

    choice = await world.choose(limit=200, room=lambda id: 0 if id == dead else 40)
    claimed = await world.claim_chosen(choice)
    assert Counter(one.destination.endpoint_id for one in claimed.deliveries) == dict.fromkeys(
        alive, 2
    )
    assert choice.has_more
    # And what has no room is not forgotten either.
    claimed = await world.claim(limit=200, room=lambda id: 7)
    assert [one.destination.endpoint_id for one in claimed.deliveries] == [dead] * 7


async def test_endpoints_with_backlogs_that_have_room_all_get_their_share(world: World) -> None:
    ids = []
    for _ in range(40):
        application = await world.application()
        ids.append(await world.endpoint(application))
        await world.send(application, count=100)
        world.pass_time(1)
    left = dict.fromkeys(ids, 5)
    got: Counter[str] = Counter()
    while sum(left.values()):
        claimed = await world.claim(limit=50, room=left.__getitem__)
        assert claimed.deliveries
        for one in claimed.deliveries:
            left[one.destination.endpoint_id] -= 1
            got[one.destination.endpoint_id] += 1
        assert min(left.values()) >= 0
    assert got == dict.fromkeys(ids, 5)


async def test_what_has_just_fallen_due_does_not_wait_behind_what_is_due_longer(
    world: World,
) -> None:
    """Though the backlog is an endpoint's that has room for all of it."""
    busy_application = await world.application()
    await world.endpoint(busy_application)
    for _ in range(5):
        await world.send(busy_application, count=1_000)
    world.pass_time(60)
    application = await world.application()
    endpoint = await world.endpoint(application, [seconds(5)])
    (message,) = await world.send(application)
    world.pass_time(5)
    key = (world.environment_id, message, endpoint)
    assert key in (await world.choose(limit=100)).keys


async def test_looks_that_take_little_leave_the_same_shares(world: World) -> None:
    """As those of a loop do whose places are nearly all taken."""
    busy_application = await world.application()
    busy = await world.endpoint(busy_application)
    await world.send(busy_application, count=300)
    world.pass_time(60)
    application = await world.application()
    endpoint = await world.endpoint(application)
    (message,) = await world.send(application)
    taken = [(await world.choose(limit=1)).keys for _ in range(4)]
    assert [(world.environment_id, message, endpoint)] in taken
    assert sum(key[2] == busy for keys in taken for key in keys) >= 2


async def test_what_is_in_the_middle_gets_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither due long enough to come first, nor late enough to come at once."""
    monkeypatch.setattr(due_choice, "_QUEUES_AT_ONCE", 7)
    endpoints = []
    for _ in range(30):
        application = await world.application()
        endpoints.append(await world.endpoint(application))
        await world.send(application)
        world.pass_time(1)
    middle = endpoints[15]

    def room(endpoint_id: str) -> int:
        return int(endpoint_id == middle)

    choice = await world.choose(limit=4, room=room)
    while not choice.keys:
        # There are queues that it has not come to.
        assert choice.has_more_queues
        choice = await world.choose(limit=4, room=room)
    assert [key[2] for key in choice.keys] == [middle]
    # The round ends, and the next one comes to it again.
    rest = 0
    while choice.has_more_queues:
        choice = await world.choose(limit=4, room=lambda id: 0)
        rest += 1
    assert rest == 2
    for _ in range(3):
        choice = await world.choose(limit=4, room=room)
    assert [key[2] for key in choice.keys] == [middle]
