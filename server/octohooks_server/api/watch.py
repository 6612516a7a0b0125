"""The live stream of attempts: readers behind the log of committed events."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from octohooks.v1.attempt_service_pb2 import WatchAttemptsResponse

from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import Caller
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_tail import EventTail
from octohooks_server.api.stopping import stopping_error
from octohooks_server.api.watch_tokens import WatchTokens
from octohooks_server.errors import ResourceExhausted, Unauthenticated
from octohooks_server.store import attempts, environments
from octohooks_server.store.attempts import EventFilter

_BOOKMARK_SECONDS = 10.0
# How often a watch looks whether its key still works; revoking ends it within 5 seconds.
_KEY_CHECK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a watch begins: behind a token, at a time, or now when both are unset."""

    resume_token: str = ""
    since: datetime | None = None


@dataclass(slots=True)
class _Followed:
    """An environment that is being watched."""

    tail: EventTail
    watches: int = 0


class Watches:
    """All watches of this server. Each goes through the log at its own pace."""

    def __init__(
        self,
        dependencies: Dependencies,
        authenticator: Authenticator,
        tokens: WatchTokens,
        *,
        max_per_environment: int,
    ) -> None:
        self._database = dependencies.database
        self._feed = dependencies.feed
        self._stopping = dependencies.stopping
        self._authenticator = authenticator
        self._tokens = tokens
        self._max_per_environment = max_per_environment
        self._followed: dict[str, _Followed] = {}

    async def watch(
        self, caller: Caller, matching: EventFilter, start: Start
    ) -> AsyncIterator[WatchAttemptsResponse]:
        """A bookmark, and from then on every event that matches, in order, once it is committed.

        Raises:
            InvalidArgument: the token is not one of this environment and filter.
            ResourceExhausted: the environment has as many watches as it may have.
            Unavailable: the server stops; the response before it is a bookmark.
            Unauthenticated: the key was revoked or has expired.
        """
        environment_id = matching.scope.environment_id
        position, newest = await self._begin(matching, start)
        followed = self._followed.get(environment_id)
        if followed is None:
            tail = EventTail(self._database, self._feed, environment_id, newest)
            followed = self._followed[environment_id] = _Followed(tail)
        if followed.watches >= self._max_per_environment:
            raise ResourceExhausted(
                f"The environment has {followed.watches} open watches and may have no more.",
                reason="TOO_MANY_WATCHES",
            )
        followed.watches += 1
        try:
            async for response in self._follow(caller, matching, followed.tail, position):
                yield response
        finally:
            followed.watches -= 1
            if followed.watches == 0:
                del self._followed[environment_id]

    async def _begin(self, matching: EventFilter, start: Start) -> tuple[int, int]:
        """The number of the event behind which the watch begins, and of the newest event."""
        environment_id = matching.scope.environment_id
        async with self._database.read() as conn:
            newest = await environments.last_sequence(conn, environment_id)
            if start.resume_token:
                return self._tokens.open(start.resume_token, matching), newest
            if start.since is not None:
                position = await attempts.position_before(
                    conn, environment_id=environment_id, time=start.since, newest=newest
                )
                return position, newest
        return newest, newest

    async def _follow(
        self, caller: Caller, matching: EventFilter, tail: EventTail, position: int
    ) -> AsyncIterator[WatchAttemptsResponse]:
        def bookmark() -> WatchAttemptsResponse:
            return WatchAttemptsResponse(resume_token=self._tokens.seal(position, matching))

        clock = asyncio.get_running_loop().time
        yield bookmark()
        bookmark_at = clock() + _BOOKMARK_SECONDS
        check_at = clock() + _KEY_CHECK_SECONDS
        while True:
            # Asked for before the read, so that no change can fall between the read and the wait.
            grown = self._feed.next_change(matching.scope.environment_id)
            keys_changed = self._authenticator.next_change()
            events = await tail.after(position)
            if events:
                position = events[-1].sequence
                wanted = [event.event for event in events if matching.wants(event)]
                if wanted:
                    response = bookmark()
                    response.events.extend(wanted)
                    yield response
                    bookmark_at = clock() + _BOOKMARK_SECONDS
            if self._stopping.is_set():
                yield bookmark()
                raise stopping_error()
            if keys_changed.is_set() or clock() >= check_at:
                if not await self._authenticator.is_live(caller):
                    raise Unauthenticated
                check_at = clock() + _KEY_CHECK_SECONDS
            if clock() >= bookmark_at:
                yield bookmark()
                bookmark_at = clock() + _BOOKMARK_SECONDS
            if not events:
                seconds = max(min(bookmark_at, check_at) - clock(), 0)
                await _first_of([grown, keys_changed, self._stopping], seconds)
                if keys_changed.is_set():
                    check_at = clock()


async def _first_of(signals: list[asyncio.Event], seconds: float) -> None:
    """Returns when one of the signals is set, or the time is over."""
    waits = [asyncio.ensure_future(signal.wait()) for signal in signals]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
