"""What every database offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.errors import OctohooksError, ResourceExhausted, Unavailable

T = TypeVar("T")

Work = Callable[[AsyncConnection], Coroutine[Any, Any, T]]
"""What is done in a transaction by store functions."""

# How long a piece of work waits for a lock or a connection.
MOST_SECONDS_OF_WAITING = 5.0
# What callers are told when the database is away.
_COME_BACK_AFTER = timedelta(seconds=1)


class DatabaseRefuses(Exception):
    """The database lets nobody in by this name and password, or does not exist; says which."""


class Database(ABC):
    """One database, with one visible transaction for each piece of work.

    `write()` and `read()` begin a transaction and commit it at the end of their block, or roll it
    back when the block raises. A database that is away or stays locked raises `Unavailable`, a full
    disk `ResourceExhausted`; nothing is stored then.
    """

    # Told about each transaction that failed by an error of the domain, the database's own among
    # them; whoever observes a server sets it.
    observe_error: Callable[[OctohooksError], None] = staticmethod(lambda _: None)

    @abstractmethod
    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may change things.

        Each statement sees what was committed before it began. On SQLite one transaction comes
        after another; on PostgreSQL several run at once, so that what is read in order to be
        changed is read `FOR UPDATE`.
        """

    @abstractmethod
    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""

    async def run(self, work: Work[T]) -> T:
        """What `work` answers, done in one transaction like that of `write`, at the least cost.

        `work` waits for nothing but its connection. It may run in a thread of the database's, with
        the context variables of its caller.
        """
        async with self.write() as conn:
            return await work(conn)

    async def run_one_change(self, work: Work[T]) -> T:
        """Like `run`, for work that changes things by one statement at the most.

        Nothing has to be undone then when it fails, so it need not be one transaction where to
        begin and to end one takes time.
        """
        return await self.run(work)

    async def run_read(self, work: Work[T]) -> T:
        """Like `run`, in one transaction like that of `read`."""
        async with self.read() as conn:
            return await work(conn)

    @abstractmethod
    async def warm_up(self) -> None:
        """Makes what the first transactions would have to wait for, such as connections."""

    @abstractmethod
    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        """Calls `migrate(connection)` with a synchronous connection, in one transaction.

        Servers that start together do so one after another.
        """

    @abstractmethod
    async def close(self) -> None:
        """Closes every connection."""


@contextmanager
def told_errors(tell: Callable[[OctohooksError], None]) -> Iterator[None]:
    """Tells what the block fails by, and lets it fail."""
    try:
        yield
    except OctohooksError as error:
        tell(error)
        raise


def away() -> Unavailable:
    """What a caller is told when the database cannot be reached or stays locked."""
    return Unavailable(
        "the database cannot be reached at the moment",
        reason="DATABASE_UNAVAILABLE",
        retry_after=_COME_BACK_AFTER,
    )


def disk_full() -> ResourceExhausted:
    """What a caller is told when nothing more can be stored."""
    return ResourceExhausted("the server's disk is full; nothing was stored", reason="STORAGE_FULL")
