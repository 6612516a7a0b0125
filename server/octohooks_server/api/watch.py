"""The live stream of attempts: readers behind the log of committed events."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from octohooks.v1.attempt_service_pb2 import WatchAttemptsResponse

from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import Caller
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_tail import EventTail
from octohooks_server.api.stopping import stopping_error
from octohooks_server.api.watch_signals import KeyChecks, WatchSignal
from octohooks_server.api.watch_steps import WatchSteps
from octohooks_server.api.watch_tokens import WatchTokens
from octohooks_server.errors import OutOfRange, ResourceExhausted
from octohooks_server.store import attempts, history
from octohooks_server.store.attempts import EventFilter
from octohooks_server.store.history import Mark

_BOOKMARK_SECONDS = 10.0
# How often a watch looks whether its key still works; revoking ends it within 5 seconds.
_KEY_CHECK_SECONDS = 3.0
# When to try again where there are too many: nobody knows when one of them ends.
_RETRY_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a watch begins: behind a token, at a time, or now when both are unset."""

    resume_token: str = ""
    since: datetime | None = None


@dataclass(slots=True)
class _Followed:
    """An environment that is being watched."""

    tail: EventTail
    signal: WatchSignal
    keys: KeyChecks
    watches: int = 0
    # Of each filter, as long as there are watches that have it.
    steps: WeakValueDictionary[EventFilter, WatchSteps] = field(default_factory=WeakValueDictionary)
    # Up to which event each of its watches has looked.
    positions: dict[object, int] = field(default_factory=dict)


class Watches:
    """All watches of this server. Each goes through the log at its own pace."""

    def __init__(
        self,
        dependencies: Dependencies,
        authenticator: Authenticator,
        tokens: WatchTokens,
        *,
        max_per_environment: int,
        max_per_key: int = 0,
    ) -> None:
        """`max_per_key` is for keys that have no limit of their own; 0 is none."""
        self._database = dependencies.database
        self._feed = dependencies.feed
        self._stopping = dependencies.stopping
        self._authenticator = authenticator
        self._tokens = tokens
        self._max_per_environment = max_per_environment
        self._max_per_key = max_per_key
        self._open_by_key: Counter[str] = Counter()
        self._followed: dict[str, _Followed] = {}

    @property
    def open(self) -> int:
        """How many watches are open."""
        return sum(followed.watches for followed in self._followed.values())

    def looked_up_to(self) -> Mapping[str, int]:
        """Up to which event every watch of an environment has looked, by the environment's ID."""
        return {
            id: min(followed.positions.values())
            for id, followed in self._followed.items()
            if followed.positions
        }

    async def watch(
        self, caller: Caller, matching: EventFilter, start: Start
    ) -> AsyncIterator[WatchAttemptsResponse | bytes]:
        """A bookmark, and from then on every event that matches, in order, once it is committed.

        Responses with events come as they are on the wire, since many watches share them.

        Raises:
            InvalidArgument: the token is not one of this environment and filter.
            OutOfRange: events are missing behind the token or the time, since they are too old.
            ResourceExhausted: the environment or the key has as many watches as it may have.
            Unavailable: the server stops; the response before it is a bookmark.
            Unauthenticated: the key was revoked or has expired.
        """
        environment_id = matching.scope.environment_id
        position, newest = await self._begin(matching, start)
        followed = self._followed.get(environment_id)
        if followed is None:
            followed = self._followed[environment_id] = _Followed(
                EventTail(self._database, self._feed, environment_id, newest),
                WatchSignal(self._feed, environment_id, self._authenticator, self._stopping),
                KeyChecks(self._authenticator),
            )
        if followed.watches >= self._max_per_environment:
            raise ResourceExhausted(
                f"The environment has {followed.watches} open watches and may have no more.",
                reason="TOO_MANY_WATCHES",
                retry_after=_RETRY_AFTER,
            )
        key = caller.api_key_id or ""
        most = caller.max_watches or self._max_per_key
        if 0 < most <= self._open_by_key[key]:
            raise ResourceExhausted(
                f"The API key has {most} open watches at this server and may have no more.",
                reason="TOO_MANY_WATCHES",
                retry_after=_RETRY_AFTER,
            )
        followed.watches += 1
        self._open_by_key[key] += 1
        watch = object()
        followed.positions[watch] = position
        try:
            async for response in self._follow(caller, matching, followed, watch):
                yield response
        finally:
            del followed.positions[watch]
            self._open_by_key[key] -= 1
            if self._open_by_key[key] == 0:
                del self._open_by_key[key]
            followed.watches -= 1
            if followed.watches == 0:
                del self._followed[environment_id]
                followed.signal.close()

    async def _begin(self, matching: EventFilter, start: Start) -> tuple[int, int]:
        """The number of the event behind which the watch begins, and of the newest event."""
        environment_id = matching.scope.environment_id
        async with self._database.read() as conn:
            extent = await history.extent(conn, environment_id)
            first = extent.begin(matching.scope)
            if start.resume_token:
                position = self._tokens.open(start.resume_token, matching)
                if position < first.sequence:
                    raise self._too_old("The resume token", first, matching)
            elif start.since is not None:
                if first.recorded_at is not None and start.since <= first.recorded_at:
                    raise self._too_old("The time", first, matching)
                position = await attempts.position_before(
                    conn,
                    environment_id=environment_id,
                    time=start.since,
                    oldest=first.sequence,
                    newest=extent.newest,
                )
            else:
                position = extent.newest
        return position, extent.newest

    async def _follow(
        self, caller: Caller, matching: EventFilter, followed: _Followed, watch: object
    ) -> AsyncIterator[WatchAttemptsResponse | bytes]:
        position = followed.positions[watch]
        steps = followed.steps.get(matching)
        if steps is None:
            steps = WatchSteps(followed.tail, self._tokens, matching)
            followed.steps[matching] = steps

        def bookmark() -> WatchAttemptsResponse:
            return WatchAttemptsResponse(resume_token=self._tokens.seal(position, matching))

        clock = asyncio.get_running_loop().time
        yield bookmark()
        bookmark_at = clock() + _BOOKMARK_SECONDS
        check_at = clock() + _KEY_CHECK_SECONDS
        keys_changed = self._authenticator.next_change()
        while True:
            # Asked for before the read, so that no change can fall between the read and the wait.
            changed = followed.signal.next()
            step = await steps.after(position)
            if step.has_gap:
                await self._require_kept(matching, position)
            at_end = step.is_end
            followed.positions[watch] = position = step.position
            if step.response is not None:
                yield step.response
                bookmark_at = clock() + _BOOKMARK_SECONDS
            # Nothing but the response was held while nobody read it, and now not even that.
            del step
            if self._stopping.is_set():
                yield bookmark()
                raise stopping_error()
            if keys_changed.is_set() or clock() >= check_at:
                keys_changed = self._authenticator.next_change()
                await followed.keys.require_live(caller)
                check_at = clock() + _KEY_CHECK_SECONDS
            if clock() >= bookmark_at:
                yield bookmark()
                bookmark_at = clock() + _BOOKMARK_SECONDS
            if at_end:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(bookmark_at, check_at)):
                        await changed.wait()

    async def _require_kept(self, matching: EventFilter, position: int) -> None:
        """OutOfRange when numbers are missing because their events have been deleted meanwhile."""
        async with self._database.read() as conn:
            extent = await history.extent(conn, matching.scope.environment_id)
        first = extent.begin(matching.scope)
        if position < first.sequence:
            raise self._too_old("The watch's place", first, matching)

    def _too_old(self, what: str, first: Mark, matching: EventFilter) -> OutOfRange:
        return OutOfRange(
            f"{what} is older than the history that is kept.",
            metadata={"oldest_resume_token": self._tokens.seal(first.sequence, matching)},
        )
