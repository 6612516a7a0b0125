"""The messages under way on a stream, and what became of them."""

from collections import deque
from dataclasses import dataclass

from octohooks.backoff import Backoff
from octohooks.errors import OctohooksError, error_from_failure, is_cut
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import (
    CreateMessageResult,
    PublishMessagesRequest,
    PublishMessagesResponse,
)

# With the usual backoff, a server that is away is waited for about a minute.
_MAX_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of one published message."""

    number: int
    """Which message of the iterable it is: the first one is 1."""
    idempotency_key: str
    """The key that the message carried."""
    result: Message | OctohooksError
    """The message as it was stored, without its payload, or why it was refused."""


def message_or_error(result: CreateMessageResult) -> Message | OctohooksError:
    """The message, or the exception that a call for it alone would have raised."""
    return error_from_failure(result.failure) if result.HasField("failure") else result.message


class Outbox:
    """The messages under way, from the one that is acknowledged next on. Whoever uses it holds a
    lock of the kind that suits it."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._under_way: deque[PublishMessagesRequest] = deque()
        self._sent = 0
        self._acknowledged = 0
        self.stream = 0
        self.ended = False
        self.failure: Exception | None = None

    def has_room(self) -> bool:
        return len(self._under_way) < self._window or self.ended

    def add(self, request: PublishMessagesRequest) -> None:
        self._under_way.append(request)

    def end(self, failure: Exception | None) -> None:
        """No more messages come, and perhaps why."""
        self.ended = True
        self.failure = failure

    def has_news(self, stream: int) -> bool:
        """Whether this stream need not wait: it can send, or has to end."""
        return self._sent < len(self._under_way) or self.ended or stream != self.stream

    def take(self, stream: int) -> PublishMessagesRequest | None:
        """What this stream sends next; None to end it."""
        if stream != self.stream or self._sent == len(self._under_way):
            return None
        self._sent += 1
        return self._under_way[self._sent - 1]

    def acknowledge(self, response: PublishMessagesResponse) -> Acknowledgement:
        """Takes out the message that was sent first: acknowledgements come in order."""
        self._sent -= 1
        self._acknowledged += 1
        return Acknowledgement(
            number=self._acknowledged,
            idempotency_key=self._under_way.popleft().idempotency_key,
            result=message_or_error(response.result),
        )

    def is_done(self) -> bool:
        return self.ended and not self._under_way

    def abandon(self) -> None:
        """Nobody waits for acknowledgements any more: whatever reads or sends for it ends."""
        self.ended = True
        self.restart()

    def restart(self) -> None:
        """Everything under way is to be sent again, on another stream."""
        self.stream += 1
        self._sent = 0


class Failures:
    """Failures in a row, without an acknowledgement between them."""

    def __init__(self, reconnect: Backoff) -> None:
        self._reconnect = reconnect
        self._count = 0

    def reset(self) -> None:
        self._count = 0

    def wait_after(self, error: OctohooksError) -> float | None:
        """The seconds to wait before sending again; None when that would not help."""
        self._count += 1
        if not is_cut(error) or self._count >= _MAX_FAILURES:
            return None
        return self._reconnect.delay(self._count)
