"""Receivers that follow a script, and a sender that writes down every POST."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from octohooks.v1.attempt_pb2 import (
    ERROR_KIND_HTTP_STATUS,
    ERROR_KIND_TIMEOUT,
    ERROR_KIND_UNSPECIFIED,
    ErrorKind,
)
from octohooks_server.delivery.exchange import Exchange
from octohooks_server.rules.signing import SigningKey

from tests.simulation.trace import Trace


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver does with one POST."""

    status: int
    # How long it takes; with status 0, until the sender gives up.
    seconds: float
    # What its Retry-After asks for.
    retry_after: int | None = None


@dataclass(slots=True, eq=False)
class Post:
    """One POST, as an onlooker outside of the server saw it."""

    server: str
    message_id: str
    endpoint_id: str
    answer: Answer
    # In real, that is virtual, seconds.
    began: float
    # By the server's own clock.
    clock_at_begin: datetime
    ended: float | None = None
    clock_at_end: datetime | None = None
    # When its attempt was on disk.
    recorded: float | None = None
    # Why it may have no attempt.
    excuses: set[str] = field(default_factory=set)

    @property
    def delivery(self) -> tuple[str, str]:
        """The message and the endpoint."""
        return self.message_id, self.endpoint_id


class Receiver:
    """One endpoint's other side."""

    def __init__(self, random: random.Random, *, timeout: float) -> None:
        self._random = random
        self._timeout = timeout
        self._chance_of_success = random.choice((0.0, 0.3, 0.7, 1.0))
        self._gone_after = random.randint(1, 10) if random.random() < 0.1 else None
        self._count = 0
        self.has_said_gone = False

    def answer(self) -> Answer:
        """What it does this time."""
        draw = self._random
        self._count += 1
        seconds = draw.choice((0.01, 0.2, 1.0)) * draw.random()
        if draw.random() < 0.1:
            seconds = self._timeout * 0.9
        if self._gone_after is not None and self._count > self._gone_after:
            self.has_said_gone = True
            return Answer(410, seconds)
        if draw.random() < self._chance_of_success:
            return Answer(204, seconds)
        failure = draw.random()
        if failure < 0.25:
            return Answer(0, self._timeout)
        if failure < 0.5:
            return Answer(draw.choice((429, 503)), seconds, retry_after=draw.randint(1, 40))
        return Answer(500, seconds)


@dataclass(slots=True)
class Network:
    """All receivers, and every POST that was made."""

    trace: Trace
    receivers: dict[str, Receiver] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)


class SimulatedSender:
    """Makes POSTs for one server process."""

    def __init__(self, name: str, network: Network, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._network = network
        self._clock = clock
        self._open: dict[str, int] = {}
        # The most POSTs that were under way at once, to any one endpoint and to all.
        self.most_to_one = 0
        self.most_to_all = 0

    async def send(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        message_id: str,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> Exchange:
        """One attempt, as the receiver's script has it."""
        assert keys
        assert body.decode() == f'"{message_id}"'
        endpoint_id = url.rpartition("/")[2]
        loop = asyncio.get_running_loop()
        answer = self._network.receivers[endpoint_id].answer()
        post = Post(self._name, message_id, endpoint_id, answer, loop.time(), self._clock())
        self._network.posts.append(post)
        self._network.trace.add(
            f"{self._name} posts {message_id[-4:]} to {endpoint_id[-4:]}: {answer}"
        )
        self._open[endpoint_id] = self._open.get(endpoint_id, 0) + 1
        self.most_to_one = max(self.most_to_one, self._open[endpoint_id])
        self.most_to_all = max(self.most_to_all, sum(self._open.values()))
        try:
            await asyncio.sleep(answer.seconds)
        finally:
            self._open[endpoint_id] -= 1
            if post.ended is None:
                post.ended = loop.time()
        post.clock_at_end = self._clock()
        return Exchange(
            # Tells attempts apart, so that each can be laid beside its POST.
            started_at=post.clock_at_begin,
            duration=timedelta(seconds=answer.seconds),
            status=answer.status,
            headers=()
            if answer.retry_after is None
            else (("retry-after", str(answer.retry_after)),),
            body=b"",
            truncated=False,
            error_kind=_error_kind(answer),
            error_detail="" if 200 <= answer.status <= 299 else "It failed.",
        )


def _error_kind(answer: Answer) -> ErrorKind.ValueType:
    if answer.status == 0:
        return ERROR_KIND_TIMEOUT
    return ERROR_KIND_UNSPECIFIED if 200 <= answer.status <= 299 else ERROR_KIND_HTTP_STATUS
