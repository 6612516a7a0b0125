"""The time that servers on one database share: the database's clock without its steps.

What is due and which claims have ended is compared between servers, so they all go by one clock.
When that is set by an hour, due deliveries must neither come all at once nor stand still. So the
servers keep, in the database, by how much its clock is ahead of their time, and work that off
slowly, each in the same way.

A step is what a server sees of the database's clock that its own machine's count of seconds does
not explain. A machine that was paused counts too little, and would see a step as well; but then
another server has read the clock all along and has noted it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

# How much faster or slower than real time a clock may run to follow another: half of a retry's
# jitter, so that a wait stays about what the schedule promises.
MOST_CORRECTION = 0.05
# What is less is followed at once. It must be more than servers let pass between two notes.
_LEAST_STEP = timedelta(seconds=5)
# A note that is younger than this does not need another one.
_FRESH = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Note:
    """What some server saw last of the database's clock."""

    seen_at: datetime
    # By how much the clock was ahead of the shared time then; below zero, it was behind.
    ahead: timedelta

    def ahead_at(self, time: datetime) -> timedelta:
        """By how much the clock is ahead when it shows this time."""
        worked_off = max(time - self.seen_at, timedelta(0)) * MOST_CORRECTION
        if self.ahead > timedelta(0):
            return max(self.ahead - worked_off, timedelta(0))
        return min(self.ahead + worked_off, timedelta(0))


@dataclass(frozen=True, slots=True)
class Reading:
    """What one server makes of what the clock shows."""

    shared: datetime
    # By how much the clock was set since this server read it last, unless another one has noted it.
    step: timedelta
    # What to note in place of the note that was there; None when that still serves.
    note: Note | None


def read(shown: datetime, *, expected: datetime | None, note: Note | None) -> Reading:
    """The shared time when the clock shows `shown`.

    `expected` is what it would show had it gone on by as many seconds as the server counted since
    its last reading; None for the first, which does not know whether there was a step.
    """
    if expected is None:
        ahead = timedelta(0) if note is None else note.ahead_at(shown)
        return Reading(shown - ahead, timedelta(0), None)
    step = shown - expected
    is_noted = note is not None and abs(shown - note.seen_at) < _LEAST_STEP
    if abs(step) < _LEAST_STEP or is_noted:
        ahead = timedelta(0) if note is None else note.ahead_at(shown)
        is_fresh = note is not None and is_noted and shown - note.seen_at < _FRESH
        return Reading(shown - ahead, timedelta(0), None if is_fresh else Note(shown, ahead))
    ahead = step if note is None else note.ahead_at(expected) + step
    return Reading(shown - ahead, step, Note(shown, ahead))
