"""`octohooks demo`"""

from octohooks_cli.connection import Connection
from octohooks_cli.session import session_over


def demo() -> None:
    """Show the whole path of a webhook in this terminal.

    It starts a server with its data in a temporary folder and a receiver that fails at first, sends
    messages, shows each attempt with the retry, and ends by itself.
    """
    # Other commands need not wait for all that this one imports.
    import asyncio

    from octohooks_cli.demonstration import demonstrate

    with session_over(Connection()) as session:
        asyncio.run(demonstrate(session.output))
