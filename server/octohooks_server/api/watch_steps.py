"""What watches are sent next: made once for all that have the same filter and the same place."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from octohooks.v1.attempt_service_pb2 import AttemptEvent, WatchAttemptsResponse

from octohooks_server.api.event_tail import EventTail
from octohooks_server.api.watch_tokens import WatchTokens
from octohooks_server.store.attempts import Event, EventFilter

# A response that a reader does not take is all that is held for it.
_MOST_BYTES_OF_EVENTS = 32 * 1024
# Watches that keep up are at one of the newest places; others make their steps for themselves.
_REMEMBERED = 4


class Step(NamedTuple):
    """From one place in the log to another."""

    response: bytes | None
    """The events in between, with the token of the new place, on the wire; None without events."""
    position: int
    """The new place: the number of the last event that was looked at."""
    is_end: bool
    """Whether the log ended where the step began."""
    has_gap: bool
    """Whether numbers were missing behind the place where the step began."""


class WatchSteps:
    """The steps of all watches that have one filter."""

    def __init__(self, tail: EventTail, tokens: WatchTokens, matching: EventFilter) -> None:
        self._tail = tail
        self._tokens = tokens
        self._matching = matching
        self._steps: OrderedDict[int, Step] = OrderedDict()

    async def after(self, position: int) -> Step:
        """The next step of a watch that has looked up to `position`."""
        step = self._steps.get(position)
        if step is not None:
            return step
        events = await self._tail.after(position)
        step = self._steps.get(position)
        if step is not None:
            # Another watch was quicker.
            return step
        reaches_to = events[-1].sequence if events else self._tail.newest
        has_gap = reaches_to != position + len(events)
        if not events:
            return Step(None, position, True, has_gap)
        wanted, new_position = self._first_wanted(events)
        response = None
        if wanted:
            token = self._tokens.seal(new_position, self._matching)
            response = WatchAttemptsResponse(resume_token=token, events=wanted).SerializeToString()
        step = self._steps[position] = Step(response, new_position, False, has_gap)
        if len(self._steps) > _REMEMBERED:
            self._steps.popitem(last=False)
        return step

    def _first_wanted(self, events: Sequence[Event]) -> tuple[list[AttemptEvent], int]:
        """The events for one response, and the number of the last event that was looked at."""
        wanted: list[AttemptEvent] = []
        size = 0
        position = 0
        for event in events:
            if self._matching.wants(event):
                size += event.size
                if wanted and size > _MOST_BYTES_OF_EVENTS:
                    break
                wanted.append(event.event)
            position = event.sequence
        return wanted, position
