"""Resume tokens: where a watch stands in its environment's log, bound to its filter."""

from octohooks_server.api.seals import Seals
from octohooks_server.errors import InvalidArgument
from octohooks_server.store.attempts import EventFilter

_PURPOSE = b"watch"


class WatchTokens:
    """Makes and opens resume tokens."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def seal(self, position: int, matching: EventFilter) -> str:
        """The token to go on strictly behind event number `position`."""
        return self._seals.seal(b"%d" % position, *_bounds(matching))

    def open(self, token: str, matching: EventFilter) -> int:
        """The position in a token; InvalidArgument when it is not one of this filter's."""
        content = self._seals.open(token, *_bounds(matching))
        if content is None:
            raise InvalidArgument.of(
                "resume_token", "The token was not made for this environment and filter."
            )
        return int(content)


def _bounds(matching: EventFilter) -> tuple[bytes, ...]:
    scope = matching.scope
    ids = (scope.environment_id, scope.application_id, scope.endpoint_id, scope.message_id)
    return (
        _PURPOSE,
        *((id or "").encode() for id in ids),
        ",".join(sorted(matching.event_types)).encode(),
        ",".join(map(str, sorted(matching.kinds))).encode(),
    )
