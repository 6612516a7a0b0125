"""A sender set up for tests, and names that tests decide."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from octohooks_server.delivery.exchange import Exchange
from octohooks_server.delivery.resolver import NameNotResolved, Resolver
from octohooks_server.delivery.sender import Sender
from octohooks_server.rules.addresses import parse_subnets
from octohooks_server.rules.signing import SigningKey, signing_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = "127.0.0.0/8,::1/128"

# For exchanges that are meant to end by themselves, however slow the machine is.
PATIENT = timedelta(seconds=50)
# For exchanges that are meant to run into the timeout.
SHORT = timedelta(milliseconds=200)


class Names:
    """Resolves names as a test says; a name with several answers gives one after the other."""

    def __init__(self, **answers: tuple[str, ...] | list[tuple[str, ...]]) -> None:
        """Underscores in the names stand for dots."""
        self._answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.asked: list[str] = []

    async def addresses(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name not in self._answers:
            raise NameNotResolved
        answer = self._answers[name]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    async def close(self) -> None:
        pass


@asynccontextmanager
async def sending(
    *,
    timeout: timedelta = PATIENT,
    allowed: str = LOOPBACK,
    names: Resolver | None = None,
    outbound_proxy: str | None = None,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    max_connections: int = 100,
) -> AsyncIterator[Sender]:
    """A sender that may reach loopback unless `allowed` says otherwise."""
    sender = Sender(
        timeout=timeout,
        resolver=names or Names(),
        user_agent="Octohooks/1.2.3",
        clock=clock,
        allowed_subnets=parse_subnets(allowed),
        max_connections=max_connections,
        outbound_proxy=outbound_proxy,
        tls=tls,
    )
    try:
        yield sender
    finally:
        await sender.close()


async def post(
    sender: Sender,
    url: str,
    *,
    body: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    keys: Sequence[SigningKey] | None = None,
) -> Exchange:
    """Send one message."""
    return await sender.send(
        url=url,
        headers=headers or {},
        message_id="msg_01ARYZ6S41TSV4RRFFQ69G5FAV",
        body=body,
        keys=keys if keys is not None else [signing_key(SECRET)],
    )
