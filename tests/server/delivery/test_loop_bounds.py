"""Bounds hold, for each endpoint and in total, and nobody is passed over."""

from collections import Counter

import pytest
from octohooks_server.delivery import attempts, lanes
from octohooks_server.delivery import loop as loop_module

from tests.server.delivery.loop_rig import FlakyDatabase, running_loop
from tests.server.store.world import World, seconds
from tests.waiting import eventually


def url(name: str) -> str:
    return f"https://{name}.example.com/"


@pytest.fixture(autouse=True)
def _only_when_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look comes by the passing of time: what goes on, goes on as places become free."""
    monkeypatch.setattr(loop_module, "_MOST_SECONDS_BETWEEN_LOOKS", 3_600.0)
    monkeypatch.setattr(loop_module, "_LEAST_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(attempts, "_SECONDS_AFTER_A_FAILURE", 0.01)


async def test_no_more_attempts_are_under_way_at_an_endpoint_than_it_has_places(
    world: World,
) -> None:
    application = await world.application()
    await world.endpoint(application, url=url("one"))
    sent = await world.send(application, count=50)
    async with running_loop(world, max_in_flight_per_endpoint=3) as rig:
        posts = await rig.sender.next_posts(3)
        for _ in range(47):
            posts.pop(0).answer()
            posts.append(await rig.sender.next_post())
        for post in posts:
            post.answer()
        await rig.recorded(50)
    assert rig.sender.most_under_way == {url("one"): 3}
    assert Counter(post.message_id for post in rig.sender.posts) == Counter(sent)


async def test_no_more_attempts_are_under_way_in_total_than_there_are_places(
    world: World,
) -> None:
    application = await world.application()
    for number in range(10):
        await world.endpoint(application, url=url(f"e{number}"))
    await world.send(application)
    async with running_loop(world, max_in_flight=7, max_in_flight_per_endpoint=3) as rig:
        # Those that are known to be quick may take all places, and do while nobody answers.
        await rig.sender.answer_all(10)
        await rig.recorded(10)
        await world.send(application, count=9)
        rig.loop.look()
        for post in await rig.sender.next_posts(7):
            post.answer()
        await rig.sender.answer_all(83)
        await rig.recorded(90)
    assert rig.sender.most_under_way_in_total == 7
    assert max(rig.sender.most_under_way.values()) <= 3
    assert Counter(post.url for post in rig.sender.posts) == {
        url(f"e{number}"): 10 for number in range(10)
    }


async def test_a_place_is_free_once_the_post_has_succeeded_although_it_is_not_recorded_yet(
    world: World,
) -> None:
    flaky = FlakyDatabase(world.database)
    application = await world.application()
    await world.endpoint(application)
    async with running_loop(world, database=flaky, max_in_flight_per_endpoint=1) as rig:
        await rig.accept_and_hand_over(*(world.draft(application) for _ in range(3)))
        flaky.away = True
        await rig.sender.answer_all(3)
        flaky.away = False
        await rig.recorded(3)
    assert rig.sender.most_under_way_in_total == 1


async def test_no_more_posts_are_made_without_a_record_than_there_are_places(world: World) -> None:
    """They are what a crash could repeat."""
    flaky = FlakyDatabase(world.database)
    application = await world.application()
    for number in range(10):
        await world.endpoint(application, url=url(f"e{number}"))
    await world.send(application)
    claimed = (await world.claim()).deliveries
    flaky.away = True
    async with running_loop(world, database=flaky, max_in_flight=4) as rig:
        rig.loop.hand_over(claimed)
        await rig.sender.answer_all(4)
        refused = flaky.refusals

        async def has_been_tried_again() -> bool:
            return flaky.refusals > refused + 10

        await eventually(has_been_tried_again)
        assert len(rig.sender.posts) == 4
        flaky.away = False
        await rig.sender.answer_all(6)
        await rig.recorded(10)


async def test_what_succeeds_is_not_recorded_behind_all_that_fail_at_the_same_moment(
    world: World,
) -> None:
    dead, alive = await world.application(), await world.application()
    for number in range(90):
        await world.endpoint(dead, url=url(f"dead{number}"))
    await world.endpoint(alive, url=url("alive"))
    await world.send(dead)
    async with running_loop(world, max_in_flight=400) as rig:
        failing = await rig.sender.next_posts(90)
        await rig.accept_and_hand_over(world.draft(alive))
        succeeding = await rig.sender.next_post()
        for post in failing:
            post.answer(500)
        succeeding.answer()
        await rig.recorded(91)
    order = [outcome.succeeded for outcome in rig.outcomes_written]
    assert order.index(True) <= attempts._FAILURES_AT_ONCE


async def test_endpoints_take_turns(world: World) -> None:
    """One that has much waiting is not served to its end before another one begins."""
    busy, quiet = await world.application(), await world.application()
    await world.endpoint(busy, url=url("busy"))
    await world.endpoint(quiet, url=url("quiet"))
    async with running_loop(world, max_in_flight=2, max_in_flight_per_endpoint=2) as rig:
        await world.send(busy, count=20)
        rig.loop.hand_over((await world.claim()).deliveries)
        first = await rig.sender.next_post()
        await world.send(quiet)
        rig.loop.hand_over((await world.claim()).deliveries)
        first.answer()
        order = [post.url for post in await rig.sender.answer_all(20)]
        await rig.recorded(21)
    assert order.index(url("quiet")) <= 2


async def test_a_group_of_messages_claims_no_more_than_there_is_room_for(world: World) -> None:
    """The rest waits in the database, where any server finds it."""
    application = await world.application()
    await world.endpoint(application, url=url("slow"))
    async with running_loop(world, max_in_flight_per_endpoint=2) as rig:
        claimed = await rig.accept_and_hand_over(*(world.draft(application) for _ in range(60)))
        per_place = 1 + lanes._WAITING_PER_PLACE
        assert len(claimed) <= 2 * per_place
        assert len(await rig.accept_and_hand_over(world.draft(application))) == 0
        rig.loop.look()
        await rig.sender.answer_all(61)
        await rig.recorded(61)


async def test_a_group_for_many_endpoints_claims_no_more_than_there_is_room_for_in_total(
    world: World,
) -> None:
    application = await world.application()
    for number in range(50):
        await world.endpoint(application, url=url(f"e{number}"))
    async with running_loop(world, max_in_flight=20, max_in_flight_per_endpoint=5) as rig:
        claimed = await rig.accept_and_hand_over(*(world.draft(application) for _ in range(4)))
        assert len(claimed) <= 20 * (1 + lanes._WAITING_PER_PLACE_IN_TOTAL)
        rig.loop.look()
        await rig.sender.answer_all(200)
        await rig.recorded(200)


async def test_what_is_claimed_stays_bounded_whatever_the_backlog(world: World) -> None:
    application = await world.application()
    for number in range(10):
        await world.endpoint(application, url=url(f"e{number}"))
    await world.send(application, count=40)
    most = 0
    async with running_loop(world, max_in_flight=20, max_in_flight_per_endpoint=4) as rig:
        for count in range(300):
            (await rig.sender.next_post()).answer()
            if count % 30 == 0:
                most = max(most, await rig.claimed_count())
    assert 0 < most <= 20 * (1 + lanes._WAITING_PER_PLACE_IN_TOTAL)


async def test_a_backlog_is_worked_off_without_looks_by_time(world: World) -> None:
    application = await world.application()
    await world.endpoint(application, url=url("one"))
    await world.endpoint(application, url=url("other"))
    sent = await world.send(application, count=100)
    async with running_loop(world, max_in_flight=10, max_in_flight_per_endpoint=5) as rig:
        posts = await rig.sender.answer_all(200)
        await rig.recorded(200)
    assert Counter(post.message_id for post in posts) == dict.fromkeys(sent, 2)


async def test_an_endpoint_that_never_answers_leaves_the_others_their_places(
    world: World,
) -> None:
    dead, alive = await world.application(), await world.application()
    await world.endpoint(dead, url=url("dead"))
    await world.endpoint(alive, url=url("alive"))
    await world.send(dead, count=200)
    world.pass_time(1)
    await world.send(alive, count=100)
    async with running_loop(world, max_in_flight=10, max_in_flight_per_endpoint=4) as rig:
        for _ in range(100):
            (await rig.sender.next_post_to(url("alive"))).answer()
        await rig.recorded(100)
    assert rig.sender.under_way[url("dead")] == 0
    assert 0 < rig.sender.most_under_way[url("dead")] <= 4


async def test_many_endpoints_that_never_answer_leave_places_to_the_others(world: World) -> None:
    """However much waits for them: they may not take all the places that there are."""
    dead = await world.application()
    for number in range(20):
        await world.endpoint(dead, url=url(f"dead{number}"))
    alive = await world.application()
    await world.endpoint(alive, url=url("alive"))
    await world.send(dead, count=10)
    async with running_loop(world, max_in_flight=50, max_in_flight_per_endpoint=10) as rig:
        # All of the dead are being tried, if only by one attempt each.
        tried: set[str] = set()
        while len(tried) < 20:
            tried.add((await rig.sender.next_post()).url)
        for _ in range(30):
            await rig.accept_and_hand_over(world.draft(alive))
            (await rig.sender.next_post_to(url("alive"))).answer()
            await rig.recorded()
    assert rig.sender.most_under_way_in_total <= 50


@pytest.mark.parametrize("places", [1, 3])
async def test_a_retry_of_one_endpoint_is_not_held_up_by_the_backlog_of_another(
    world: World, places: int
) -> None:
    dead, flaky = await world.application(), await world.application()
    await world.endpoint(dead, url=url("dead"))
    await world.endpoint(flaky, [seconds(0), seconds(0)], url=url("flaky"))
    await world.send(dead, count=100)
    async with running_loop(world, max_in_flight_per_endpoint=places) as rig:
        await rig.sender.next_posts(places)
        await rig.accept_and_hand_over(world.draft(flaky))
        for status in (500, 200):
            post = await rig.sender.next_post()
            assert post.url == url("flaky")
            post.answer(status)
        await rig.recorded(2)


async def test_a_message_to_a_new_endpoint_does_not_wait_behind_the_backlogs_of_many_that_answer(
    world: World,
) -> None:
    """They would fill every place again at once, since all of them are known to be quick."""
    busy, new = await world.application(), await world.application()
    for number in range(40):
        await world.endpoint(busy, url=url(f"busy{number}"))
    await world.endpoint(new, url=url("new"))
    await world.send(busy, count=10)
    async with running_loop(world, max_in_flight=8, max_in_flight_per_endpoint=4) as rig:
        posts = await rig.sender.next_posts(6)
        for _ in range(100):
            posts.pop(0).answer()
            posts.append(await rig.sender.next_post())
        await rig.accept_and_hand_over(world.draft(new))
        passed = 0
        while posts[-1].url != url("new"):
            posts.pop(0).answer()
            posts.append(await rig.sender.next_post())
            passed += 1
    # No more than could wait in memory when it came.
    assert passed <= 8 * (1 + lanes._WAITING_PER_PLACE_IN_TOTAL)


@pytest.mark.parametrize("seconds_each", [2, 15], ids=["slow", "timeout"])
async def test_endpoints_that_are_slow_leave_places_to_those_that_were_not_tried_yet(
    world: World, seconds_each: int
) -> None:
    """Whatever comes of the attempts at them: they take up places for long."""
    slow, new = await world.application(), await world.application()
    for number in range(20):
        await world.endpoint(slow, url=url(f"slow{number}"))
    await world.endpoint(new, url=url("new"))
    await world.send(slow, count=50)
    async with running_loop(world, max_in_flight=8, max_in_flight_per_endpoint=4) as rig:
        for _ in range(20):
            posts = await rig.sender.next_posts(4)
            world.pass_time(seconds_each)
            for post in posts:
                post.answer()
            await rig.recorded(len(posts))
        await rig.accept_and_hand_over(world.draft(new))
        # None of the slow ones is answered meanwhile.
        (await rig.sender.next_post_to(url("new"))).answer()


async def test_a_retry_is_made_at_its_time_although_a_backlog_of_others_is_due_longer(
    world: World,
) -> None:
    """The backlog is of an endpoint that answers at once, and takes all that it is given."""
    busy = await world.application()
    await world.endpoint(busy, url=url("busy"))
    await world.send(busy, count=1_000)
    world.pass_time(1)
    application = await world.application()
    endpoint = await world.endpoint(application, [seconds(0), seconds(5)], url=url("one"))
    draft = world.draft(application)

    async def has_failed() -> bool:
        return (await world.delivery(draft.message.id, endpoint)).attempt_count == 1

    async with running_loop(world, max_in_flight=8, max_in_flight_per_endpoint=4) as rig:
        await rig.accept_and_hand_over(draft)
        while (post := await rig.sender.next_post()).url != url("one"):
            post.answer()
        post.answer(500)
        await eventually(has_failed)
        world.pass_time(6)
        before = 0
        while (post := await rig.sender.next_post()).url != url("one"):
            post.answer()
            before += 1
        post.answer()
    assert before < 500
