"""The whole path of a webhook, from its sender to its receiver, for `octohooks demo`."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from octohooks import AsyncOctohooks, AsyncWatch, OctohooksError, Webhook
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED, DELIVERY_STATUS_SUCCEEDED

from octohooks_cli.failures import CommandFailed
from octohooks_cli.output import Output
from octohooks_cli.receiver import Arrival, Receiver, listen_at, url_of
from octohooks_cli.server_process import server_process

_APPLICATION = "some-user"
_MESSAGES = (
    ("invoice.created", {"id": 1, "total": 1250}),
    ("invoice.paid", {"id": 1, "paid": True}),
    ("user.signed_up", {"id": 7, "name": "Ada"}),
)
# Seconds. Octohooks' own schedule waits longer.
_RETRY_SCHEDULE = (0, 1, 2, 2)
_TIME_LIMIT = 30
_NEXT = (
    "Next: `OCTOHOOKS_ALLOWED_SUBNETS=127.0.0.0/8 octohooks serve` in one terminal and, with the"
    f" key that it prints, `octohooks listen --register {_APPLICATION}` in another."
)


async def demonstrate(output: Output) -> None:
    """Sends messages through a server of its own to a receiver that fails at first, and shows each
    attempt until all messages have arrived.

    Raises:
        CommandFailed: one did not arrive, or not as it was sent.
    """
    with TemporaryDirectory(prefix="octohooks-demo-") as folder:
        try:
            async with (
                asyncio.timeout(_TIME_LIMIT),
                server_process(Path(folder)) as server,
                AsyncOctohooks(server.api_key, target=server.target) as client,
            ):
                output.line(f"A server at {server.target}, with its data in {folder}")
                attempts = await _send(client, output)
        except OctohooksError as error:
            raise CommandFailed(f"the server refused a call: {error}") from error
        except TimeoutError:
            raise CommandFailed(f"the demo was not done within {_TIME_LIMIT} seconds.") from None
    output.line(
        f"\nAll {len(_MESSAGES)} messages arrived and every signature was right; it took"
        f" {attempts} attempts.\n{_NEXT}"
    )


async def _send(client: AsyncOctohooks, output: Output) -> int:
    """Sends the messages to a receiver; answers how many attempts it took."""
    await client.application.update(_APPLICATION, name="Some User")
    arrivals: list[Arrival] = []
    with listen_at("127.0.0.1", 0) as listening:
        endpoint = await client.endpoint.create(
            _APPLICATION, url=url_of(listening), retry_schedule=_RETRY_SCHEDULE
        )
        secrets = await client.endpoint.secret(_APPLICATION, endpoint.id)
        receiver = Receiver(arrivals.append, webhook=Webhook(secrets[0].secret), fail_first=1)
        async with (
            receiver.serving(listening),
            client.attempt.watch(application=_APPLICATION) as events,
        ):
            await events.wait_until_live()
            output.line(f"A receiver at {endpoint.url}, which fails the first time")
            output.line(f"{len(_MESSAGES)} messages to the application {_APPLICATION}:\n")
            for event_type, payload in _MESSAGES:
                await client.message.create(_APPLICATION, event_type=event_type, payload=payload)
            attempts = await _show_until_all_arrived(events, output)
    for arrival in arrivals:
        if not arrival.verified:
            raise CommandFailed(f"a signature was wrong: {arrival.problem}.")
    return attempts


async def _show_until_all_arrived(events: AsyncWatch, output: Output) -> int:
    """Shows each attempt until every message has arrived; answers how many attempts there were."""
    arrived: set[str] = set()
    attempts = 0
    async for event in events:
        output.event(event)
        attempts += 1
        if event.attempt.delivery_status == DELIVERY_STATUS_SUCCEEDED:
            arrived.add(event.attempt.message)
        elif event.attempt.delivery_status == DELIVERY_STATUS_FAILED:
            raise CommandFailed(f"{event.attempt.message} did not arrive; no attempts are left.")
        if len(arrived) == len(_MESSAGES):
            break
    return attempts
