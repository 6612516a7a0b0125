"""Servers on one database agree on a time that no step of the database's clock moves."""

from datetime import UTC, datetime, timedelta

import pytest
from octohooks_server.rules import shared_time
from octohooks_server.rules.shared_time import Note, Reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
NOTHING = timedelta(0)

STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])


class Clock:
    """A database's clock, and the note that is kept with it."""

    def __init__(self) -> None:
        self.passed = NOTHING
        self.set_by = NOTHING
        self.note: Note | None = None

    def shows(self) -> datetime:
        return NOON + self.passed + self.set_by

    def true_time(self) -> datetime:
        """The time had nobody set the clock."""
        return NOON + self.passed


class Server:
    """One that reads the clock, by a machine that counts seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected_at: tuple[datetime, timedelta] | None = None
        # Time that its machine did not count.
        self.slept = NOTHING

    def reads(self) -> Reading:
        clock = self._clock
        expected = None
        if self._expected_at is not None:
            shown, counted = self._expected_at
            expected = shown + (clock.passed - self.slept - counted)
        reading = shared_time.read(clock.shows(), expected=expected, note=clock.note)
        clock.note = reading.note or clock.note
        self._expected_at = clock.shows(), clock.passed - self.slept
        return reading


def _settled(clock: Clock, count: int) -> list[Server]:
    """Servers that have read the clock for a while."""
    servers = [Server(clock) for _ in range(count)]
    for _ in range(5):
        clock.passed += SECOND
        for server in servers:
            server.reads()
    return servers


def test_without_a_step_the_shared_time_is_what_the_clock_shows() -> None:
    clock = Clock()
    (server,) = _settled(clock, 1)
    clock.passed += SECOND
    assert server.reads().shared == clock.shows()


@STEPS
def test_no_server_is_moved_by_a_step_of_an_hour(step: timedelta) -> None:
    clock = Clock()
    servers = _settled(clock, 3)
    clock.set_by = step
    clock.passed += SECOND
    readings = [server.reads() for server in servers]
    assert [reading.shared for reading in readings] == [clock.true_time()] * 3
    # The first one tells; the others find its note.
    assert [reading.step for reading in readings] == [step, NOTHING, NOTHING]


@STEPS
def test_a_step_is_worked_off_by_a_twentieth_of_the_time_that_passes(step: timedelta) -> None:
    clock = Clock()
    servers = _settled(clock, 2)
    clock.set_by = step
    before = clock.true_time()
    for _ in range(100):
        clock.passed += SECOND
        first, second = (server.reads().shared for server in servers)
        assert first == second
        # A first reading of a second's length finds all of the step.
        most = (clock.true_time() - before) * 0.05
        assert abs(first - clock.true_time()) <= most
    clock.passed += 21 * HOUR
    servers[0].reads()
    assert servers[1].reads().shared == clock.shows()


@STEPS
def test_a_server_that_starts_after_a_step_agrees_with_the_others(step: timedelta) -> None:
    clock = Clock()
    (server,) = _settled(clock, 1)
    clock.set_by = step
    clock.passed += SECOND
    server.reads()
    assert Server(clock).reads().shared == clock.true_time()


def test_a_server_that_was_paused_takes_the_time_from_those_that_were_not() -> None:
    """Its machine counted nothing meanwhile, so that the clock seems to have jumped."""
    clock = Clock()
    paused, awake = _settled(clock, 2)
    for _ in range(60):
        clock.passed += SECOND
        awake.reads()
    paused.slept = timedelta(seconds=60)
    reading = paused.reads()
    assert reading.shared == clock.shows()
    assert reading.step == NOTHING


def test_a_database_that_was_away_for_long_is_no_step() -> None:
    clock = Clock()
    (server,) = _settled(clock, 1)
    clock.passed += HOUR
    reading = server.reads()
    assert reading.shared == clock.shows()
    assert reading.step == NOTHING


def test_steps_add_up() -> None:
    clock = Clock()
    (server,) = _settled(clock, 1)
    for _ in range(2):
        clock.set_by += HOUR
        clock.passed += SECOND
        reading = server.reads()
        assert abs(reading.shared - clock.true_time()) <= timedelta(seconds=0.1)


def test_one_note_a_second_is_enough_for_all_servers() -> None:
    clock = Clock()
    servers = _settled(clock, 4)
    notes = 0
    for _ in range(10):
        for server in servers:
            clock.passed += SECOND / 4
            notes += server.reads().note is not None
    assert notes <= 10
