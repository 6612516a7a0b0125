"""What has to hold after every run, whatever happened in it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from octohooks.v1.attempt_pb2 import ATTEMPT_TRIGGER_MANUAL
from octohooks.v1.delivery_pb2 import (
    CANCEL_REASON_ENDPOINT_DELETED,
    CANCEL_REASON_ENDPOINT_DISABLED,
    DELIVERY_STATUS_CANCELLED,
    DELIVERY_STATUS_FAILED,
    DELIVERY_STATUS_PENDING,
    DELIVERY_STATUS_SUCCEEDED,
)
from octohooks_server.delivery.lanes import SLOW_FROM
from octohooks_server.delivery.places import KEPT_FROM_SLOW, KEPT_FROM_UNPROVEN
from octohooks_server.store.columns import to_microseconds

from tests.simulation.network import Post
from tests.simulation.server import SimulatedServer
from tests.simulation.stored import Row, Stored
from tests.simulation.world import World

_JITTER = 0.1
# How far the steady clock may be off real time, and a little for the arithmetic.
_SLEW = 0.051
_MICROSECOND = timedelta(microseconds=1)
_ENDED = (DELIVERY_STATUS_SUCCEEDED, DELIVERY_STATUS_FAILED, DELIVERY_STATUS_CANCELLED)
# An outcome whose recording failed less often than this was recorded in its lease.
_FAULTS_THAT_OUTLAST_A_LEASE = 3

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Story:
    """One delivery as the database has it, and as its receiver saw it."""

    row: Row
    attempts: Sequence[Row]
    posts: Sequence[Post]
    # The POST of each attempt; None when there was none.
    posts_of_attempts: Sequence[Post | None]

    def __str__(self) -> str:
        return f"{self.row['message_id'][-4:]} to {self.row['endpoint_id'][-4:]}"


def violations(
    world: World,
    posts: Sequence[Post],
    stored: Stored,
    servers: Sequence[SimulatedServer],
    fault_times: Sequence[float],
) -> list[str]:
    """Every promise that was not kept, as a sentence."""
    stories = _stories(posts, stored)
    endpoints = stored.endpoints
    found = [
        *_promises_kept(world, stories),
        *_events_without_holes(stored),
        *_bounds_kept(world, servers),
    ]
    for post in posts:
        if post.delivery not in stories:
            found.append(f"{post} is of no delivery")
    for story in stories.values():
        found += [
            f"{story}: {problem}"
            for check in (
                _has_ended(story, world, endpoints),
                _is_numbered(story),
                _each_post_is_an_attempt(story, world, fault_times),
                _one_at_a_time(story, world),
                _nothing_early(story, world),
                _nothing_after_the_end(story, world),
                _nothing_idle(story, world, posts),
            )
            for problem in check
        ]
    return found


def _stories(posts: Sequence[Post], stored: Stored) -> dict[Key, _Story]:
    attempts: dict[Key, list[Row]] = defaultdict(list)
    for attempt in stored.attempts:
        attempts[attempt["message_id"], attempt["endpoint_id"]].append(attempt)
    made: dict[Key, list[Post]] = defaultdict(list)
    for post in posts:
        made[post.delivery].append(post)
    stories = {}
    for row in stored.deliveries:
        key = row["message_id"], row["endpoint_id"]
        by_begin = {to_microseconds(post.clock_at_begin): post for post in made[key]}
        stories[key] = _Story(
            row,
            attempts[key],
            made[key],
            [by_begin.get(attempt["started_at"]) for attempt in attempts[key]],
        )
    return stories


def _promises_kept(world: World, stories: dict[Key, _Story]) -> Iterator[str]:
    """Every message that was acknowledged goes to each endpoint that wanted it, and resends too."""
    for message_id, acknowledged in world.acknowledged.items():
        for endpoint_id in acknowledged.endpoint_ids:
            if (message_id, endpoint_id) not in stories:
                yield f"acknowledged {message_id[-4:]} has no delivery to {endpoint_id[-4:]}"
    for key, promised_at in world.resends:
        if world.endpoints[key[1]].may_be_retired:
            continue
        story = stories[key]
        if any(post and post.answer.status == 410 for post in story.posts_of_attempts) or any(
            post.answer.status == 410 for post in _posts_to(stories, key[1])
        ):
            # The endpoint was disabled, and with that all that waited for it was cancelled.
            continue
        kept = any(
            attempt["trigger"] == ATTEMPT_TRIGGER_MANUAL
            and post is not None
            and (post.recorded is None or post.recorded >= promised_at)
            for attempt, post in zip(story.attempts, story.posts_of_attempts, strict=True)
        )
        if not kept:
            yield f"{story}: the resend promised at {promised_at:.6f} was not made"


def _posts_to(stories: dict[Key, _Story], endpoint_id: str) -> Iterator[Post]:
    for key, story in stories.items():
        if key[1] == endpoint_id:
            yield from story.posts


def _events_without_holes(stored: Stored) -> Iterator[str]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for environment_id, sequence in stored.events:
        numbers[environment_id].append(sequence)
    for environment_id, last in stored.last_sequences.items():
        if numbers[environment_id] != list(range(1, last + 1)):
            yield f"the events of {environment_id} are numbered {numbers[environment_id]}"


def _bounds_kept(world: World, servers: Sequence[SimulatedServer]) -> Iterator[str]:
    bounds = world.plan.bounds
    for server in servers:
        if server.sender.most_to_one > bounds.max_in_flight_per_endpoint:
            yield f"{server.name} had {server.sender.most_to_one} under way to one endpoint"
        if server.sender.most_to_all > bounds.max_in_flight:
            yield f"{server.name} had {server.sender.most_to_all} under way"


def _has_ended(story: _Story, world: World, endpoints: dict[str, Row]) -> Iterator[str]:
    row = story.row
    endpoint = endpoints[row["endpoint_id"]]
    successes = [attempt for attempt in story.attempts if 200 <= attempt["response_status"] <= 299]
    if row["leased"] or row["due_at"] is not None or row["manual_requests"]:
        yield "is left leased or due"
    if row["status"] not in _ENDED:
        yield f"has not ended: its status is {row['status']}"
    if bool(successes) != (row["status"] == DELIVERY_STATUS_SUCCEEDED):
        yield f"ended as {row['status']} with {len(successes)} successes"
    steps = len(world.endpoints[row["endpoint_id"]].schedule)
    if row["scheduled_count"] > steps:
        yield f"was attempted {row['scheduled_count']} times on a schedule of {steps}"
    if row["status"] == DELIVERY_STATUS_FAILED and row["scheduled_count"] != steps:
        yield f"is exhausted after {row['scheduled_count']} of {steps} attempts"
    if row["status"] == DELIVERY_STATUS_CANCELLED:
        retired = {
            CANCEL_REASON_ENDPOINT_DELETED: endpoint["deleted_at"] is not None,
            CANCEL_REASON_ENDPOINT_DISABLED: bool(endpoint["disabled"]),
        }
        if not retired.get(row["cancel_reason"], False):
            yield f"is cancelled for the reason {row['cancel_reason']}, which is not so"
    gone = any(attempt["response_status"] == 410 for attempt in story.attempts)
    if gone and not endpoint["disabled"] and endpoint["deleted_at"] is None:
        yield "its endpoint said that it is gone, and is enabled"


def _is_numbered(story: _Story) -> Iterator[str]:
    numbers = [attempt["number"] for attempt in story.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"its attempts are numbered {numbers}"
    if story.row["attempt_count"] != len(numbers):
        yield f"counts {story.row['attempt_count']} attempts and has {len(numbers)}"
    manual = sum(attempt["trigger"] == ATTEMPT_TRIGGER_MANUAL for attempt in story.attempts)
    if story.row["scheduled_count"] != len(numbers) - manual:
        yield f"counts {story.row['scheduled_count']} scheduled attempts of {len(numbers)}"


def _each_post_is_an_attempt(
    story: _Story, world: World, fault_times: Sequence[float]
) -> Iterator[str]:
    """One attempt for each POST, except where what came of it could not be recorded in time."""
    for attempt, post in zip(story.attempts, story.posts_of_attempts, strict=True):
        if post is None:
            yield f"attempt {attempt['number']} was never made"
        elif attempt["response_status"] != post.answer.status:
            yield f"attempt {attempt['number']} is not what its receiver answered"
    lease = world.plan.bounds.lease.total_seconds()
    recorded = {id(post) for post in story.posts_of_attempts}
    for post in story.posts:
        if id(post) in recorded or post.excuses:
            continue
        end = post.began if post.ended is None else post.ended
        faults = sum(end <= time <= end + lease for time in fault_times)
        if faults < _FAULTS_THAT_OUTLAST_A_LEASE:
            yield f"the POST at {post.began:.6f} is no attempt"


def _one_at_a_time(story: _Story, world: World) -> Iterator[str]:
    """A delivery is attempted anew only when the attempt before is over, or its server stood."""
    slack = _SLEW * world.plan.bounds.request_timeout.total_seconds()
    for earlier, later in pairwise(story.posts):
        if "pause" in earlier.excuses:
            continue
        if earlier.ended is None or later.began < earlier.ended - slack:
            yield f"the POST at {later.began:.6f} began while that at {earlier.began:.6f} was made"


def _nothing_early(story: _Story, world: World) -> Iterator[str]:
    """No attempt of the schedule comes before its time, by the clock of its server."""
    schedule = world.endpoints[story.row["endpoint_id"]].schedule
    before: Post | None = None
    step = 0
    for attempt, post in zip(story.attempts, story.posts_of_attempts, strict=True):
        if attempt["trigger"] == ATTEMPT_TRIGGER_MANUAL or post is None or step >= len(schedule):
            continue
        wait = schedule[step] * (1 - _JITTER) if step else schedule[0]
        if before is None:
            early = (
                story.row["created_at"] + wait / _MICROSECOND - to_microseconds(post.clock_at_begin)
            )
        else:
            wait = max(wait, timedelta(seconds=before.answer.retry_after or 0))
            early = (_end(before) + wait - post.clock_at_begin) / _MICROSECOND
            real = post.began - (before.ended or 0.0)
            if before.server == post.server and real * (1 + _SLEW) < wait.total_seconds() - 1e-3:
                yield f"attempt {attempt['number']} came after {real:.6f} s instead of {wait}"
        if early > 1:
            yield f"attempt {attempt['number']} came {early / 1e6:.6f} seconds early"
        before = post
        step += 1


def _nothing_after_the_end(story: _Story, world: World) -> Iterator[str]:
    """Once a delivery has ended, only somebody's wish sets off an attempt."""
    end: float | None = None
    for attempt, post in zip(story.attempts, story.posts_of_attempts, strict=True):
        if end is not None and attempt["trigger"] != ATTEMPT_TRIGGER_MANUAL:
            yield f"attempt {attempt['number']} follows the delivery's end"
        if attempt["delivery_status"] != DELIVERY_STATUS_PENDING and post is not None:
            end = min(post.recorded or post.began, end or float("inf"))
    key = story.row["message_id"], story.row["endpoint_id"]
    is_resent = any(resent == key for resent, _ in world.resends)
    known = world.endpoints[key[1]]
    lease = world.plan.bounds.lease.total_seconds() * (1 + _SLEW)
    for post in story.posts:
        if end is not None and post.began > end and not is_resent:
            yield f"the POST at {post.began:.6f} follows the delivery's end"
        if known.retired_at is not None and post.began > known.retired_at + lease:
            yield f"the POST at {post.began:.6f} goes to an endpoint that gets nothing any more"


def _nothing_idle(story: _Story, world: World, posts: Sequence[Post]) -> Iterator[str]:
    """Without faults, what is due is attempted as soon as there is a place for it."""
    key = story.row["message_id"], story.row["endpoint_id"]
    known = world.endpoints[key[1]]
    if (
        not world.plan.is_faultless
        or known.is_rate_limited
        or any(resent == key for resent, _ in world.resends)
    ):
        return
    due = world.real_time(story.row["created_at"]) + known.schedule[0].total_seconds()
    for post, step in zip(story.posts, [*known.schedule[1:], None], strict=False):
        idle = _idle_seconds(due, post.began, key[1], world, posts)
        if idle > world.plan.seconds_between_looks + 1:
            yield f"the POST at {post.began:.6f} was due at {due:.6f}, and nothing was in its way"
        if step is not None:
            wait = max(step.total_seconds() * (1 + _JITTER), post.answer.retry_after or 0)
            due = (post.ended or post.began) + wait


def _idle_seconds(
    begin: float, end: float, endpoint_id: str, world: World, posts: Sequence[Post]
) -> float:
    """For how long in a stretch of time one more POST could surely have been under way.

    Half of the places are kept from endpoints that a server knows to be slow, and fewer from those
    that it does not know (`Places`); which of them it knew when is not looked into. Nor does an
    endpoint have more under way than it leaves places for others (`Lanes.start`).
    """
    if end <= begin:
        return 0.0
    bounds = world.plan.bounds
    slow_from = min(SLOW_FROM, bounds.request_timeout / 2).total_seconds() * (1 - _SLEW)
    was_slow = any(
        post.ended is None or post.ended - post.began >= slow_from
        for post in posts
        if post.endpoint_id == endpoint_id
    )
    kept = KEPT_FROM_SLOW if was_slow else KEPT_FROM_UNPROVEN
    places = bounds.max_in_flight - bounds.max_in_flight // kept
    moments = sorted(
        {begin, end}
        | {at for post in posts for at in (post.began, post.ended or 0.0) if begin < at < end}
    )
    idle = 0.0
    for start, stop in pairwise(moments):
        under_way = [post for post in posts if post.began <= start < (post.ended or 0.0)]
        to_all = Counter(post.server for post in under_way)
        to_it = Counter(post.server for post in under_way if post.endpoint_id == endpoint_id)
        # It may wait in the memory of any server, behind what that one has under way.
        if all(
            to_it[server] < min(places - to_all[server], bounds.max_in_flight_per_endpoint)
            for server in {post.server for post in posts}
        ):
            idle += stop - start
    return idle


def _end(post: Post) -> datetime:
    return post.clock_at_begin if post.clock_at_end is None else post.clock_at_end
