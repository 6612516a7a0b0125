"""The asyncio client with the surface of the blocking one, so that one test serves both."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar, cast

from octohooks import AsyncOctohooks, Octohooks

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread of its own, for coroutines that others wait for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What the function returns when the loop calls it."""

        async def call() -> T:
            return function(*args, **kwargs)

        return self.run(call())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def blocking(client: AsyncOctohooks, loop: LoopThread) -> Octohooks:
    """The client, where what it lets be awaited is waited for."""
    return cast(Octohooks, _Blocking(client, loop))


class _Blocking:
    """An object of the asyncio client: coroutines of its methods are waited for, and asynchronous
    iterators and context managers turned into plain ones."""

    def __init__(self, wrapped: Any, loop: LoopThread) -> None:
        self._wrapped = wrapped
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        return self._method(value) if inspect.isroutine(value) else self._of(value)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.run(_next(self._wrapped))
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        self._loop.run(self._wrapped.__aenter__())
        return self

    def __exit__(self, *exception: Any) -> None:
        self._loop.run(self._wrapped.__aexit__(*exception))

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = self._loop.call(method, *args, **kwargs)
            return (
                self._loop.run(_result(result)) if inspect.isawaitable(result) else self._of(result)
            )

        return call

    def _of(self, value: Any) -> Any:
        module = type(value).__module__
        ours = module.startswith("octohooks.") and not module.startswith("octohooks.v1.")
        return _Blocking(value, self._loop) if ours or inspect.isasyncgen(value) else value


async def _next(iterator: AsyncIterator[T]) -> T:
    return await anext(iterator)


async def _result(awaitable: Awaitable[T]) -> T:
    return await awaitable
