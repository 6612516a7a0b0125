from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from octohooks_server.clock import SharedClock, SteadyClock, TurnClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Machine:
    """A system whose clock can be set, while real time passes by itself."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.set_by = timedelta(0)

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed) + self.set_by

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, lambda: self.elapsed)


class Source:
    """Where a shared time is read."""

    def __init__(self, shows: Callable[[], datetime]) -> None:
        self._shows = shows

    async def read(self) -> datetime:
        return self._shows()

    async def note(self) -> None:
        pass


def test_the_steady_clock_shows_the_time_of_the_system() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.elapsed += 90
    assert clock() == NOON + timedelta(seconds=90)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_clock_set_by_an_hour_moves_a_wait_by_a_twentieth_at_the_most(step: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.set_by = step
    before = clock()
    machine.elapsed += 100
    assert timedelta(seconds=95) <= clock() - before <= timedelta(seconds=105)


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_the_clocks_agree_again_in_the_end(step: timedelta) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.set_by = step
    for _ in range(21 * 60):
        machine.elapsed += 60
        clock()
    assert clock() == machine.wall()


def test_the_steady_clock_loses_nothing_where_it_is_asked_often() -> None:
    """It stands still for half a millisecond at most, however often it is asked meanwhile."""
    machine = Machine()
    clock = machine.clock()
    for count in range(1, 1001):
        machine.elapsed = count / 10_000
        assert timedelta(0) <= machine.wall() - clock() <= timedelta(milliseconds=0.5)


def test_the_steady_clock_never_goes_back() -> None:
    machine = Machine()
    clock = machine.clock()
    seen = [clock()]
    for step in (-HOUR, HOUR, -HOUR * 30, timedelta(0)):
        machine.set_by = step
        machine.elapsed += 1
        seen.append(clock())
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen)


async def test_servers_that_share_a_clock_agree_although_their_own_ones_do_not() -> None:
    """One of them was paused for a minute, which its machine does not count."""
    paused, well = Machine(), Machine()
    source = Source(lambda: NOON + timedelta(seconds=60))
    clocks = [SharedClock(one.wall, source, lambda one=one: one.elapsed) for one in (paused, well)]  # type: ignore[misc]
    well.elapsed += 60
    assert clocks[1]() - clocks[0]() == timedelta(seconds=60)
    for clock in clocks:
        await clock.follow()
    assert [clock() for clock in clocks] == [NOON + timedelta(seconds=60)] * 2
    for machine in (paused, well):
        machine.elapsed += 5
    assert [clock() for clock in clocks] == [NOON + timedelta(seconds=65)] * 2


async def test_a_shared_clock_waits_rather_than_going_back_a_little() -> None:
    machine = Machine()
    before = NOON + timedelta(seconds=10)
    source = Source(lambda: before - timedelta(seconds=0.5))
    clock = SharedClock(machine.wall, source, lambda: machine.elapsed)
    machine.elapsed += 10
    assert clock() == before
    await clock.follow()
    assert clock() == before
    machine.elapsed += 1
    assert clock() == before + timedelta(seconds=0.5)


async def test_half_of_the_time_that_a_reading_takes_counts_as_its_way_back() -> None:
    machine = Machine()

    def read() -> datetime:
        machine.elapsed += 4
        return NOON + HOUR

    clock = SharedClock(machine.wall, Source(read), lambda: machine.elapsed)
    await clock.follow()
    assert clock() == NOON + HOUR + timedelta(seconds=2)


def test_the_clock_of_a_turn_is_read_once_in_it() -> None:
    machine = Machine()
    turn = 0.0
    clock = TurnClock(machine.wall, lambda: turn)
    machine.elapsed = 5
    assert clock() == NOON
    turn = 1.0
    assert clock() == NOON + timedelta(seconds=5)
    machine.elapsed = 6
    assert clock() == NOON + timedelta(seconds=5)
