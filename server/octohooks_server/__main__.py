"""Serves until a signal: `python -m octohooks_server`, or `octohooks serve`."""

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress

import structlog
import uvloop

from octohooks_server import collector, open_files
from octohooks_server.logs import configure_logs
from octohooks_server.serve import Running, running
from octohooks_server.settings import DatabaseAway, Settings, SettingsError, read_settings
from octohooks_server.supervisor import (
    WORKER_ARGUMENT,
    WRONG_SETTINGS,
    first_of,
    supervise,
)

log = structlog.get_logger()

_STDIN = 0
_MOST_SECONDS_FOR_A_STOP_BEYOND_GRACE = 20.0


def main() -> None:
    """Reads the settings and serves; exits 0 after a signal, 2 when a setting is wrong, 75 when the
    database is away, which another start may find back, and 70 when a part of the server died, in
    which case another start begins anew."""
    is_worker = WORKER_ARGUMENT in sys.argv[1:]
    try:
        settings = read_settings()
        configure_logs(as_json=settings.logs_as_json, level=settings.log_level)
        if settings.workers > 1:
            sys.exit(uvloop.run(supervise(settings)))
        open_files.allow(settings)
        _yield_to_others()
        sys.exit(uvloop.run(_serve(settings, is_worker=is_worker)))
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(WRONG_SETTINGS)
    except DatabaseAway as error:
        print(error, file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)


async def _serve(settings: Settings, *, is_worker: bool) -> int:
    """Serves until a signal or a defect; answers the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    if is_worker:
        # It never has anything to read; it ends with the process that watches over this one.
        loop.add_reader(_STDIN, stop.set)
    async with running(settings) as server:
        collector.settle()
        _greet(server, settings, is_worker=is_worker)
        if not settings.read_encryption_keys():
            log.warning("secrets_are_kept_plain", set="OCTOHOOKS_ENCRYPTION_KEYS")
        log.info("serving", address=server.address, metrics=server.metrics_address, pid=os.getpid())
        await first_of(stop.wait(), server.failed.wait())
        at_last = _end_at_last(settings)
        log.info("stopping")
        if is_worker:
            loop.remove_reader(_STDIN)
    log.info("stopped")
    if not server.failed.is_set():
        at_last.cancel()
    return os.EX_SOFTWARE if server.failed.is_set() else os.EX_OK


def _end_at_last(settings: Settings) -> threading.Timer:
    """Ends the process in any case: a part that died may hold up its stop for ever, and so may a
    database that has become unreachable without an error. What is cut off falls due again.
    """
    seconds = settings.shutdown_grace.total_seconds() + _MOST_SECONDS_FOR_A_STOP_BEYOND_GRACE
    timer = threading.Timer(seconds, os._exit, [os.EX_SOFTWARE])
    timer.daemon = True
    timer.start()
    return timer


def _yield_to_others() -> None:
    """Asks for long turns on a core instead of quick ones, where the system knows the difference.

    The threads of a server wake each other all the time; as a batch they interrupt each other less.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _greet(server: Running, settings: Settings, *, is_worker: bool) -> None:
    """Tells a person what they need; on stdout, since logs may go anywhere and hold no secrets."""
    if not is_worker:
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
