"""An event loop whose time jumps to what happens next, and processes that can be stopped in it."""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class Process:
    """Everything that one simulated operating system process runs: its tasks and its timers.

    What runs in it starts in it: tasks and callbacks belong to the process of whoever made them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self._is_paused = False
        self._held: list[asyncio.Handle] = []
        # Kept until the end: a task that were collected would run its cleanup, which a crash skips.
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Runs `work` in this process."""
        context = copy_context()
        context.run(_current.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def call(self, function: Callable[[], T]) -> T:
        """Calls a function as this process."""
        context = copy_context()
        context.run(_current.set, self)
        return context.run(function)

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Calls a function as this process, once time has passed and it can run."""
        loop = asyncio.get_running_loop()
        self.call(lambda: loop.call_later(seconds, function))

    def pause(self) -> None:
        """Nothing of it runs any more, until `go_on`; as SIGSTOP does."""
        self._is_paused = True

    def go_on(self) -> None:
        """What should have run meanwhile runs now, in the order in which it would have."""
        if self.is_dead:
            return
        self._is_paused = False
        held, self._held = self._held, []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.run_soon(held)

    def kill(self) -> None:
        """Nothing of it ever runs again, no cleanup either; as SIGKILL does."""
        self.is_dead = True

    async def bury(self) -> None:
        """Takes a dead process's tasks apart, so that none is left when the loop closes."""
        self.is_dead = self._is_paused = False
        # A task is only cancelled by its next step, which may be among what was held back.
        self.go_on()
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            # One that fails while it cleans up has lost the cancellation, and needs another.
            await asyncio.wait(left, timeout=0.5)
        self.is_dead = True

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Counts a task among its own."""
        self._tasks.append(task)

    def holds_back(self, handle: asyncio.Handle) -> bool:
        """Whether a callback may not run now."""
        holds_back = self._is_paused or self.is_dead
        if holds_back:
            self._held.append(handle)
        return holds_back


_current: ContextVar[Process | None] = ContextVar("process", default=None)


class NothingLeftToDo(Exception):
    """Everything waits, and no timer is set: real time would pass for ever."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Runs callbacks as asyncio does, but waits for no timer: time jumps to it.

    There is no other source of events, so that what happens depends on the program alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._time = 0.0
        # What asyncio's loop uses of itself; its type stubs leave these out.
        self._clock_resolution = 1e-9
        self._selector = _TimeJumps(self)
        self._ready: Any
        self._scheduled: Any
        self.set_task_factory(_task_of_its_process)  # type: ignore[arg-type]
        self.set_exception_handler(_raise_in_place_of_a_log_line)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._time

    def jump(self, seconds: float) -> None:
        """Passes time."""
        self._time += seconds

    def run_soon(self, handles: list[asyncio.Handle]) -> None:
        """Runs callbacks that were held back."""
        self._ready.extend(handles)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's, for the process that it is called in."""
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> asyncio.Handle:
        handle = _Callback(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""


class _Callback(asyncio.Handle):
    _context: Context

    def _run(self) -> None:
        process = self._context.get(_current)
        if process is None or not process.holds_back(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    _context: Context
    _scheduled: bool

    def _run(self) -> None:
        process = self._context.get(_current)
        if process is None or not process.holds_back(self):
            super()._run()


class _TimeJumps:
    """Stands where asyncio waits for sockets and timers."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Waits for the next timer by jumping to it."""
        if timeout is None:
            raise NothingLeftToDo
        self._loop.jump(timeout)
        return []


def _task_of_its_process(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    context: Context | None = None,
) -> asyncio.Task[T]:
    task = asyncio.Task(work, loop=loop, context=context)
    process = (context or copy_context()).get(_current)
    if process is not None:
        process.adopt(task)
    return task


def _raise_in_place_of_a_log_line(loop: asyncio.AbstractEventLoop, problem: dict[str, Any]) -> None:
    error = problem.get("exception")
    raise RuntimeError(problem["message"]) from error
