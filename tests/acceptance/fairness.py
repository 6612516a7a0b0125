"""How long webhooks to a healthy endpoint take beside endpoints that take up places.

python -m tests.acceptance.fairness    compares its 99th percentile with and without them

`make test` shows that nobody waits for their places. Times depend on what else the machine does, so
the comparison is for an idle one.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from octohooks import AsyncOctohooks

from tests.acceptance.process import StartServer, starting_servers
from tests.name_server import NameServer
from tests.receivers import Receiver, respond, stay_silent

KINDS = ("40 names that hang", "200 endpoints that never answer")
# A turn of the system's scheduler, when more processes than cores have work.
_TURN_SECONDS = 0.005


async def application_with(
    client: AsyncOctohooks, *urls: str, retry_schedule: list[float] | None = None
) -> str:
    """A new application with endpoints at these URLs."""
    application = (await client.application.create(name="A customer")).id
    for start in range(0, len(urls), 20):
        await asyncio.gather(
            *(
                client.endpoint.create(application, url=url, retry_schedule=retry_schedule)
                for url in urls[start : start + 20]
            )
        )
    return application


async def send(client: AsyncOctohooks, application: str, count: int = 1) -> list[str]:
    """Sends messages, many at a time; answers their IDs."""
    ids: list[str] = []
    for start in range(0, count, 50):
        made = await asyncio.gather(
            *(
                client.message.create(application, event_type="a.b", payload={})
                for _ in range(min(50, count - start))
            )
        )
        ids += [message.id for message in made]
    return ids


class Probe:
    """Sends messages to a healthy endpoint and takes the time until each one arrives there."""

    def __init__(self, client: AsyncOctohooks, application: str, receiver: Receiver) -> None:
        self._client = client
        self._application = application
        self._receiver = receiver

    @classmethod
    async def make(cls, client: AsyncOctohooks, receiver: Receiver) -> "Probe":
        """One of an endpoint whose name is looked up for each message, after a few messages."""
        application = await application_with(client, receiver.url_of("healthy.test"))
        probe = cls(client, application, receiver)
        for _ in range(20):
            await probe.seconds()
        return probe

    async def seconds(self) -> float:
        """From the sending of a message to its arrival; the next one is sent after it."""
        began = time.perf_counter()
        (message,) = await send(self._client, self._application)
        request = await self._receiver.next_request()
        assert request.header("webhook-id") == message
        return time.perf_counter() - began


class Others:
    """Endpoints that take up places, and messages that come for one after the other."""

    def __init__(self, client: AsyncOctohooks, application: str, count: int) -> None:
        self._client = client
        self._application = application
        self._channels = cycle(map(str, range(count)))

    @classmethod
    async def make(cls, client: AsyncOctohooks, urls: Sequence[str]) -> "Others":
        """One endpoint for each URL, whose messages are attempted once."""
        application = (await client.application.create(name="A customer")).id
        for number, url in enumerate(urls):
            await client.endpoint.create(
                application, url=url, channels=[str(number)], retry_schedule=[0]
            )
        return cls(client, application, len(urls))

    async def send(self) -> None:
        """A message for the next one."""
        await self._client.message.create(
            self._application, event_type="a.b", payload={}, channels=[next(self._channels)]
        )

    async def failed_attempts(self) -> int:
        """How many attempts there are that failed, up to a few hundred."""
        listed = self._client.attempt.list(application=self._application, page_size=250)
        return len([one async for one in listed])


@dataclass(frozen=True, slots=True)
class Rig:
    """Two servers: one that is quiet, and one beside whose healthy endpoint there are others."""

    quiet: Probe
    loaded: Probe
    others: Others


@asynccontextmanager
async def taken_up(kind: str, start_server: StartServer) -> AsyncIterator[Rig]:
    """A rig in which it is known of each of the others that it never answers.

    Messages come for them all the time, as fast as the machine can at an even pace; sent all at
    once they would fail all at once, and it is the work on these that would be measured.
    """
    close = respond(200, headers=[("connection", "close")])
    async with (
        NameServer({"healthy.test": ["127.0.0.1"]}) as name_server,
        Receiver(stay_silent) as silent,
        Receiver(close) as quiet_receiver,
        Receiver(close) as receiver,
    ):
        settings = {"nameservers": name_server.address, "request_timeout": "5.5"}
        async with (
            (await start_server(**settings)).connect() as quiet_client,
            (await start_server(**settings, max_in_flight="200")).connect() as client,
        ):
            quiet = await Probe.make(quiet_client, quiet_receiver)
            loaded = await Probe.make(client, receiver)
            if kind.startswith("40"):
                urls = [f"http://hangs{number}.test/" for number in range(40)]
            else:
                urls = [silent.url] * 200
            others = await Others.make(client, urls)
            while await others.failed_attempts() < len(urls):
                for _ in range(10):
                    await loaded.seconds()
                    await others.send()
            yield Rig(quiet, loaded, others)


async def p99s(rig: Rig) -> tuple[float, float]:
    """The 99th percentile of each probe, while messages for others come all the time.

    The probes take turns, so that whatever else the machine does strikes both alike. Of three
    percentiles of a hundred messages each, the middle one counts.
    """
    without, among = [], []
    for _ in range(3):
        took = []
        for _ in range(100):
            took.append((await rig.quiet.seconds(), await rig.loaded.seconds()))
            await rig.others.send()
        without.append(sorted(one for one, _ in took)[98])
        among.append(sorted(other for _, other in took)[98])
    return sorted(without)[1], sorted(among)[1]


async def _main() -> int:
    status = 0
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder, starting_servers(Path(folder)) as start:
            async with taken_up(kind, start) as rig:
                without, among = await p99s(rig)
        is_fair = among <= 2 * without + _TURN_SECONDS
        print(
            f"{kind}: 99th percentile {among * 1000:.1f} ms, without them {without * 1000:.1f} ms:"
            f" {'within' if is_fair else 'MORE THAN'} twice"
        )
        status = status if is_fair else 1
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
