"""Serves until a signal: `python -m octohooks_server`, or `octohooks serve`."""

import asyncio
import signal
import sys

import structlog
import uvloop

from octohooks_server.logs import configure_logs
from octohooks_server.serve import Running, running
from octohooks_server.settings import Settings, SettingsError, read_settings

log = structlog.get_logger()


def main() -> None:
    """Reads the settings and serves; exits 0 after a signal and 2 when a setting is wrong."""
    try:
        settings = read_settings()
        configure_logs(as_json=settings.logs_as_json, level=settings.log_level)
        uvloop.run(_serve(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    async with running(settings) as server:
        _greet(server, settings)
        log.info("serving", address=server.address)
        await stop.wait()
        log.info("stopping")
    log.info("stopped")


def _greet(server: Running, settings: Settings) -> None:
    """Tells a person what they need; on stdout, since logs may go anywhere and hold no secrets."""
    print(f"Octohooks serves gRPC at {server.address}", flush=True)
    if server.first_start is not None:
        print(
            f"\nMade the environment {server.first_start.environment.name}"
            f" ({server.first_start.environment.id}). Its API key, shown this once:\n"
            f"\n  export OCTOHOOKS_API_KEY={server.first_start.api_key}\n",
            flush=True,
        )
    if settings.operator_key is None:
        print(
            "No OCTOHOOKS_OPERATOR_KEY is set, so this start made one, good until the stop:\n"
            f"\n  {server.operator_key}\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
