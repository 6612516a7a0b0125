"""Starts the command line: `octohooks`, or `python -m octohooks_cli`."""

import io
import signal
import sys
from types import FrameType

from octohooks_cli.missing import missing_package


def main() -> None:
    """Runs the command that the program's arguments name, and ends the program with its exit code:
    0 when it was done, 1 when it failed, 2 when it was called wrongly, 130 after Ctrl-C, 143 after
    SIGTERM."""
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        # Commands clean up after Ctrl-C, and asyncio has its own way to do so.
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, terminate)
    try:
        _run()
    except (KeyboardInterrupt, SystemExit) as end:
        if terminated:
            sys.exit(128 + signal.SIGTERM)
        if isinstance(end, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        raise
    except Exception as error:
        # Python's developer mode (-X dev) shows where it comes from.
        if sys.flags.dev_mode:
            raise
        sys.exit(f"octohooks: {type(error).__name__}: {error}. This is a defect of the program.")


def _run() -> None:
    try:
        from octohooks_cli.app import app
    except ModuleNotFoundError as error:
        sys.exit(
            f"octohooks: the package {missing_package(error)} is missing; `pip install"
            " 'octohooks[cli]'` brings what the command line needs, and `pip install"
            " 'octohooks[server]'` the server too."
        )
    for stream in (sys.stdout, sys.stderr):
        # What the terminal cannot show must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="octohooks")


if __name__ == "__main__":
    main()
