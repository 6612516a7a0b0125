"""Synchronous connections, each used in a thread of its own and awaited from the event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Executable
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.database.base import T, Work


class Calls(Protocol):
    """Makes calls on behalf of a connection, wherever that is used."""

    def __call__(self, call: Callable[[], T]) -> Awaitable[T]:
        """What `call()` answers."""
        ...


class ThreadedConnection:
    """The place of one connection of an engine, and the thread that it is used in.

    Calls are made one after another, in the order in which they came. One whose caller has gone
    away is made all the same, unless it has not begun.
    """

    def __init__(self, engine: Engine) -> None:
        """`engine` must begin transactions by itself, and keep a connection for this place."""
        self._engine = engine
        # Between two transactions. To take one from the engine for each would cost as much as to
        # begin and end it.
        self._kept: Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction around a block, with a trip to the thread for each statement."""
        opened = ExitStack()

        def begin() -> Connection:
            return opened.enter_context(self._begun())

        try:
            yield _Connection(await self.call(begin), self.call)
        except BaseException as error:
            # Whatever was under way when the block was left, it comes to its end before this.
            end = partial(opened.__exit__, type(error), error, error.__traceback__)
            await asyncio.shield(self.call(end))
            raise
        await asyncio.shield(self.call(opened.close))

    async def run(self, work: Work[T]) -> T:
        """A whole transaction in one trip to the thread, which runs `work` from end to end."""
        return await self.call(partial(copy_context().run, self._run, work))

    def call(self, call: Callable[[], T]) -> Awaitable[T]:
        """Makes a call in the thread."""
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def close(self) -> None:
        """Closes the engine's connections that nobody uses, and ends the thread."""
        await self.call(self._disconnect)
        self._thread.shutdown()

    def _run(self, work: Work[T]) -> T:
        with self._begun() as connection:
            return _finished(work(_Connection(connection, _at_once)))

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """A transaction, in the thread."""
        connection, self._kept = self._kept or self._engine.connect(), None
        try:
            with connection.begin():
                yield connection
        except BaseException:
            # The engine rolls back what it takes back: where a commit fails, that is still to do.
            connection.close()
            raise
        self._kept = connection

    def _disconnect(self) -> None:
        if self._kept is not None:
            # What comes back to an engine is closed when that is disposed of, and not any later.
            self._kept.detach()
            self._kept.close()
        self._engine.dispose()


async def _at_once(call: Callable[[], T]) -> T:
    return call()


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never has to wait answers."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    coroutine.close()
    raise RuntimeError("It waits for something else than its connection.")


class _Connection(AsyncConnection):
    """A synchronous connection as store functions take it."""

    def __init__(self, connection: Connection, calls: Calls) -> None:
        self.sync_engine = connection.engine
        self.sync_connection = connection
        self._calls = calls

    async def execute(
        self, statement: Executable, parameters: Any = None, *, execution_options: Any = None
    ) -> CursorResult[Any]:
        """See `AsyncConnection.execute`, which `scalar` and `scalars` use too."""

        def execute() -> CursorResult[Any]:
            return _with_all_rows(
                self._proxied.execute(statement, parameters, execution_options=execution_options)
            )

        return await self._calls(execute)

    async def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> CursorResult[Any]:
        """See `AsyncConnection.exec_driver_sql`."""

        def execute() -> CursorResult[Any]:
            return _with_all_rows(
                self._proxied.exec_driver_sql(statement, parameters, execution_options)
            )

        return await self._calls(execute)

    async def run_sync(self, fn: Callable[..., T], *arg: Any, **kw: Any) -> T:
        """See `AsyncConnection.run_sync`."""
        return await self._calls(partial(fn, self._proxied, *arg, **kw))


def _with_all_rows(result: CursorResult[Any]) -> CursorResult[Any]:
    """Takes all rows at once, in the connection's thread, so that reading them needs no thread."""
    if result.returns_rows and not isinstance(
        result.cursor_strategy, FullyBufferedCursorFetchStrategy
    ):
        rows = result.cursor.fetchall()
        result.cursor.close()
        result.cursor_strategy = FullyBufferedCursorFetchStrategy(None, initial_buffer=rows)
    return result
