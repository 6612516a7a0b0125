"""What receivers of the acceptance tests do."""

import asyncio

from tests.receivers import Connection, Script, respond


def answer_after(gate: asyncio.Event, status: int = 200) -> Script:
    """This status, but to no request before the gate is open."""

    async def script(connection: Connection) -> None:
        await gate.wait()
        await respond(status)(connection)

    return script


def by_message(*scripts: Script) -> Script:
    """Runs the scripts for each message from the first on, whatever order messages come in.

    The last one stays.
    """
    left: dict[str, list[Script]] = {}

    async def script(connection: Connection) -> None:
        assert connection.request is not None
        mine = left.setdefault(connection.request.header("webhook-id"), list(scripts))
        await (mine.pop(0) if len(mine) > 1 else mine[0])(connection)

    return script
