"""Starts the command line: `octohooks`, or `python -m octohooks_cli`."""

import io
import signal
import sys

from octohooks_cli.missing import missing_package


def main() -> None:
    """Runs the command that the program's arguments name, and ends the program with its exit code:
    0 when it was done, 1 when it failed, 2 when it was called wrongly, 130 after Ctrl-C."""
    # A command that is told to end cleans up after itself, as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)
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
