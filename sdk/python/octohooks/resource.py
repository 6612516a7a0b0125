"""What the resources of both clients are made of: methods that are written once, as descriptions of
what to ask, and that the blocking client carries out and the asyncio client lets be awaited."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from octohooks.calls import Call, Listing
from octohooks.transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")
TransportT = TypeVar("TransportT", Transport, AsyncTransport)


class Resource(Generic[TransportT]):
    """The calls about one kind of entity."""

    def __init__(self, transport: TransportT) -> None:
        self._transport: TransportT = transport


class unary(Generic[P, T]):  # noqa: N801 - a decorator, like `property`
    """A method that describes one call. With `Octohooks` it makes the call and returns the `T`;
    with `AsyncOctohooks` it returns a coroutine that does."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Transport], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncTransport], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        return _bound(resource, self._name, self._describe, resource._transport.call)


class listing(Generic[P, T]):  # noqa: N801 - a decorator, like `property`
    """A method that describes a list. With `Octohooks` it returns an iterator over all of it, with
    `AsyncOctohooks` an asynchronous one; each page is asked for when it is needed."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Listing[T]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Transport], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncTransport], owner: type
    ) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        if resource is None:
            return self
        return _bound(resource, self._name, self._describe, resource._transport.list)


def _bound(
    resource: Resource[Any],
    name: str,
    describe: Callable[..., Any],
    carry_out: Callable[[Any], Any],
) -> Callable[..., Any]:
    @functools.wraps(describe)
    def method(*args: Any, **kwargs: Any) -> Any:
        return carry_out(describe(resource, *args, **kwargs))

    signature = inspect.signature(describe)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    # The next look-up finds it on the resource itself, without the descriptor.
    vars(resource)[name] = method
    return method
