"""Background work takes its turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from octohooks_server.background import upkeep
from octohooks_server.background.upkeep import Step, Upkeep
from octohooks_server.errors import Unavailable


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_SECONDS_BETWEEN_STEPS", 0.0)
    monkeypatch.setattr(upkeep, "_SECONDS_AFTER_A_FAILURE", 0.0)


class Work:
    """So many steps; says when each is taken, and when there is none left."""

    def __init__(self, name: str, steps: int, taken: list[str]) -> None:
        self.left = steps
        self.is_done = asyncio.Event()
        self._name = name
        self._taken = taken

    async def step(self) -> bool:
        if self.left:
            self.left -= 1
            self._taken.append(self._name)
        if not self.left:
            self.is_done.set()
        return self.left > 0


@asynccontextmanager
async def running(*steps: Step) -> AsyncIterator[Upkeep]:
    """An upkeep that works while the block runs."""
    working = Upkeep(steps)
    task = asyncio.create_task(working.run())
    try:
        yield working
    finally:
        working.stop()
        await task


async def test_a_long_work_holds_up_no_other() -> None:
    taken: list[str] = []
    long, short = Work("long", 1_000, taken), Work("short", 3, taken)
    async with running(long.step, short.step):
        await short.is_done.wait()
        assert taken[:6] == ["long", "short"] * 3
        assert not long.is_done.is_set()
        await long.is_done.wait()


async def test_work_that_comes_while_another_is_long_is_done_meanwhile() -> None:
    taken: list[str] = []
    long, short = Work("long", 1_000, taken), Work("short", 1, taken)
    async with running(long.step, short.step) as working:
        await short.is_done.wait()
        short.left = 2
        short.is_done.clear()
        working.wake()
        await short.is_done.wait()
        assert not long.is_done.is_set()
    assert taken.count("short") == 3


@pytest.mark.parametrize("error", [Unavailable("the database is away"), KeyError("a defect")])
async def test_a_step_that_fails_ends_neither_the_others_nor_itself(error: Exception) -> None:
    taken: list[str] = []
    other = Work("other", 3, taken)
    failures = 0
    failed_twice = asyncio.Event()

    async def fail() -> bool:
        nonlocal failures
        failures += 1
        if failures == 2:
            failed_twice.set()
        raise error

    async with running(fail, other.step) as working:
        await other.is_done.wait()
        working.wake()
        await failed_twice.wait()


async def test_it_stops_in_the_middle_of_long_work() -> None:
    taken: list[str] = []
    endless = Work("endless", 1_000_000, taken)
    other = Work("other", 1, taken)
    async with running(endless.step, other.step):
        await other.is_done.wait()
    assert not endless.is_done.is_set()
