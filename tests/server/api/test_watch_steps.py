"""What watches are sent is made once for all that are at the same place."""

import asyncio
from collections.abc import Sequence

from octohooks.v1.attempt_pb2 import Attempt
from octohooks.v1.attempt_service_pb2 import AttemptEvent, WatchAttemptsResponse
from octohooks_server.api.event_tail import EventTail
from octohooks_server.api.seals import Seals
from octohooks_server.api.watch_steps import WatchSteps
from octohooks_server.api.watch_tokens import WatchTokens
from octohooks_server.store.attempts import Event, EventFilter
from octohooks_server.store.deliveries import Scope

ALL = EventFilter(Scope("env_1"))
TOKENS = WatchTokens(Seals(b"k" * 32))


def event(number: int, *, event_type: str = "a") -> Event:
    content = AttemptEvent(attempt=Attempt(id=f"atmpt_{number}"))
    return Event(number, 1, "app_1", "ep_1", "msg_1", event_type, content, content.ByteSize())


class Tail(EventTail):
    """A log that is written by the test."""

    def __init__(self, *events: Event) -> None:
        self.log = list(events)
        self.reads = 0

    @property
    def newest(self) -> int:
        return self.log[-1].sequence if self.log else 0

    async def after(self, position: int) -> Sequence[Event]:
        self.reads += 1
        await asyncio.sleep(0)
        return [one for one in self.log if one.sequence > position]


def ids(response: bytes | None) -> list[str]:
    assert response is not None
    events = WatchAttemptsResponse.FromString(response).events
    return [one.attempt.id for one in events]


async def test_watches_at_the_same_place_are_sent_the_same_bytes() -> None:
    tail = Tail(event(1), event(2))
    steps = WatchSteps(tail, TOKENS, ALL)
    first, second = await asyncio.gather(steps.after(0), steps.after(0))
    # It comes to the same place, although the log goes on meanwhile.
    tail.log.append(event(3))
    third = await steps.after(0)
    assert first.response is not None
    assert first.response is second.response is third.response
    assert ids(first.response) == ["atmpt_1", "atmpt_2"]
    assert TOKENS.open(WatchAttemptsResponse.FromString(first.response).resume_token, ALL) == 2


async def test_a_watch_that_is_far_behind_gets_every_event_all_the_same() -> None:
    tail = Tail()
    steps = WatchSteps(tail, TOKENS, ALL)
    for number in range(1, 21):
        tail.log.append(event(number))
        assert ids((await steps.after(number - 1)).response) == [f"atmpt_{number}"]
    assert ids((await steps.after(0)).response) == [f"atmpt_{number}" for number in range(1, 21)]


async def test_events_that_nobody_wants_are_looked_at_once() -> None:
    tail = Tail(event(1), event(2))
    steps = WatchSteps(tail, TOKENS, EventFilter(Scope("env_1"), frozenset({"b"})))
    for _ in range(3):
        step = await steps.after(0)
        assert (step.response, step.position, step.is_end) == (None, 2, False)
    assert tail.reads == 1


async def test_at_the_end_of_the_log_the_next_step_is_looked_for_again() -> None:
    tail = Tail(event(1))
    steps = WatchSteps(tail, TOKENS, ALL)
    assert (await steps.after(1)).is_end
    tail.log.append(event(2))
    assert ids((await steps.after(1)).response) == ["atmpt_2"]


async def test_missing_numbers_are_told() -> None:
    steps = WatchSteps(Tail(event(1), event(4)), TOKENS, ALL)
    assert (await steps.after(0)).has_gap
    assert not (await steps.after(3)).has_gap
