"""The ways into the store for messages, and the hand-over to the delivery loop behind it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.caller import current_call
from octohooks_server.errors import OctohooksError
from octohooks_server.store.acceptance import Accepted, Draft
from octohooks_server.store.database import Database
from octohooks_server.store.group_commit import GroupCommit

T = TypeVar("T")

Results = Sequence[Accepted | OctohooksError]
AcceptDrafts = Callable[[AsyncConnection, Sequence[Draft]], Awaitable[Results]]


class Trace(Protocol):
    """The trace of one message that is being accepted."""

    # What the message's attempts continue; None when they are not to be traced.
    parent: str | None

    def end(self, result: Accepted | BaseException) -> None:
        """Ends it with what came of the message."""
        ...


# Begins a trace within that of a call, which the call's metadata may tell of.
BeginTrace = Callable[[Mapping[str, str]], Trace]


class Acceptance:
    """Accepts messages one by one in shared transactions, or several inside one of the caller's."""

    def __init__(
        self,
        group: GroupCommit[Draft, Accepted],
        accept: AcceptDrafts,
        hand_over: Callable[[Results], None],
        begin_trace: BeginTrace | None = None,
    ) -> None:
        """`hand_over` takes the results of `accept` once they are on disk. `begin_trace` is asked
        for the trace of each message, where there are traces.
        """
        self._group = group
        self._accept = accept
        self._hand_over = hand_over
        self._begin_trace = begin_trace
        # Bound once, since that costs more than a line that is not written.
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind()

    async def accept_one(self, draft: Draft) -> Accepted:
        """Stores a message together with others that arrive at the same time."""
        if self._begin_trace is None:
            accepted = await self._group.submit(draft)
        else:
            traces = _Traces(self._begin_trace)
            with traces:
                (traced,) = traces.begin([draft])
                accepted = await self._group.submit(traced)
                traces.end([accepted])
        self._note([accepted])
        return accepted

    async def in_transaction(
        self,
        database: Database,
        work: Callable[[AsyncConnection, AcceptDrafts], Coroutine[Any, Any, T]],
    ) -> T:
        """Runs `work` in a transaction of its own, in which it accepts by the function it is given.

        It may run in another thread, as what `Database.run` is given.

        What it accepted is delivered once the transaction has committed, even when the caller has
        gone away by then.
        """

        async def run() -> T:
            taken: list[Accepted | OctohooksError] = []
            traces = _Traces(self._begin_trace)

            async def accept(conn: AsyncConnection, drafts: Sequence[Draft]) -> Results:
                results = await self._accept(conn, traces.begin(drafts))
                taken.extend(results)
                return results

            with traces:
                answer = await database.run(lambda conn: work(conn, accept))
                traces.end(taken)
            self._hand_over(taken)
            self._note(taken)
            return answer

        return await asyncio.shield(asyncio.create_task(run()))

    def _note(self, results: Results) -> None:
        """Writes a line for each message, by which the log leads from its call to its attempts."""
        if not self._log.is_enabled_for(logging.DEBUG):
            return
        for result in results:
            if isinstance(result, Accepted):
                self._log.debug(
                    "message_accepted",
                    message=result.message.id,
                    application=result.message.application,
                    repetition=result.is_repetition,
                )


class _Traces:
    """The traces of messages that are accepted together; they end with its block at the latest."""

    def __init__(self, begin: BeginTrace | None) -> None:
        self._begin = begin
        self._open: list[Trace] = []

    def begin(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        """The drafts, each with its trace."""
        if self._begin is None:
            return drafts
        metadata = {
            key: value
            for key, value in current_call().context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        traces = [self._begin(metadata) for _ in drafts]
        self._open.extend(traces)
        return [
            draft._replace(trace_parent=trace.parent)
            for draft, trace in zip(drafts, traces, strict=True)
        ]

    def end(self, results: Results) -> None:
        """Ends the trace of each draft with its result, in the order in which they began."""
        ended, self._open = self._open, []
        for trace, result in zip(ended, results, strict=bool(ended)):
            trace.end(result)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        for trace in self._open:
            trace.end(error or RuntimeError())
