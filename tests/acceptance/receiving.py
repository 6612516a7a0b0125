"""What receivers of the acceptance tests do."""

import asyncio

from tests.receivers import Connection, Receiver, Script, respond


def answer_after(gate: asyncio.Event, status: int = 200) -> Script:
    """This status, but to no request before the gate is open."""

    async def script(connection: Connection) -> None:
        await gate.wait()
        await respond(status)(connection)

    return script


def message_ids(receiver: Receiver) -> list[str]:
    """The message that each request so far was for."""
    return [request.header("webhook-id") for request in receiver.requests]
