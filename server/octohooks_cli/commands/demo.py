"""`octohooks demo`"""

from octohooks_cli.failures import CommandFailed, end_with


def demo() -> None:
    """Show the whole path of a webhook in this terminal.

    It starts a server with its data in a temporary folder and a receiver that fails at first, sends
    messages, shows each attempt with the retry, and ends by itself.
    """
    # Other commands need not wait for all that this one imports.
    import asyncio

    from octohooks_cli.demonstration import demonstrate
    from octohooks_cli.output import Output

    try:
        asyncio.run(demonstrate(Output(as_json=False)))
    except CommandFailed as failure:
        end_with(str(failure))
