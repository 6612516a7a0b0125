"""The live stream of attempts: a reader behind the log of committed events."""

import asyncio
from collections.abc import AsyncIterator

from octohooks.v1.attempt_service_pb2 import WatchAttemptsRequest, WatchAttemptsResponse

from octohooks_server.api.authentication import Authenticator
from octohooks_server.api.caller import Caller
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.errors import InvalidArgument, Unauthenticated, Unavailable
from octohooks_server.store import attempts, environments
from octohooks_server.store.attempts import EventFilter

_BOOKMARK_SECONDS = 10.0
# How often a watch looks whether its key still works; revoking ends it within 5 seconds.
_KEY_CHECK_SECONDS = 3.0
# Events per response; larger ones would only wait in gRPC's buffers.
_READ_AT_ONCE = 200


class Watches:
    """All watches of this server. Each reads the log at its own pace, so none delays another."""

    def __init__(self, dependencies: Dependencies, authenticator: Authenticator) -> None:
        self._database = dependencies.database
        self._feed = dependencies.feed
        self._stopping = dependencies.stopping
        self._authenticator = authenticator

    async def watch(
        self, caller: Caller, request: WatchAttemptsRequest, matching: EventFilter
    ) -> AsyncIterator[WatchAttemptsResponse]:
        """A bookmark, and from then on every event that matches, in order, once it is committed."""
        if request.WhichOneof("start") is not None:
            raise InvalidArgument.of(
                request.WhichOneof("start") or "", "This release can only watch from now on."
            )
        environment_id = matching.scope.environment_id
        async with self._database.read() as conn:
            position = await environments.last_sequence(conn, environment_id)
        yield WatchAttemptsResponse()
        clock = asyncio.get_running_loop().time
        bookmark_at = clock() + _BOOKMARK_SECONDS
        check_at = clock() + _KEY_CHECK_SECONDS
        while True:
            # Asked for before the read, so that no commit can fall between the read and the wait.
            change = self._feed.next_change(environment_id)
            async with self._database.read() as conn:
                events = await attempts.read_events(
                    conn, environment_id=environment_id, after=position, limit=_READ_AT_ONCE
                )
            if events:
                position = events[-1].sequence
                wanted = [event.event for event in events if matching.wants(event)]
                if wanted:
                    yield WatchAttemptsResponse(events=wanted)
                    bookmark_at = clock() + _BOOKMARK_SECONDS
            if self._stopping.is_set():
                yield WatchAttemptsResponse()
                raise Unavailable("The server is stopping.", reason="SHUTTING_DOWN")
            if clock() >= check_at:
                if not await self._authenticator.is_live(caller):
                    raise Unauthenticated
                check_at = clock() + _KEY_CHECK_SECONDS
            if clock() >= bookmark_at:
                yield WatchAttemptsResponse()
                bookmark_at = clock() + _BOOKMARK_SECONDS
            if not events:
                await self._wait(change, min(bookmark_at, check_at) - clock())

    async def _wait(self, change: asyncio.Event, seconds: float) -> None:
        """Returns when the log grew, the server stops, or the time is over."""
        waits = [asyncio.ensure_future(change.wait()), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
