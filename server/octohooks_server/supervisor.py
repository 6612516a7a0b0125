"""Several server processes on one port, and this one, which watches over them."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Mapping
from contextlib import closing
from typing import Any

import structlog

from octohooks_server.api.authentication import OPERATOR_KEY_PREFIX, new_key
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.transport import Transport

log = structlog.get_logger()

# The argument by which a worker knows that it is one: it ends when its standard input does.
WORKER_ARGUMENT = "--worker"
# What a process that refuses its settings ends with; starting it again would change nothing.
WRONG_SETTINGS = 2

_FIRST_SECONDS_BEFORE_A_RESTART = 0.5
_MOST_SECONDS_BEFORE_A_RESTART = 30.0
# A worker that lived as long as this was well, and the next one begins without a wait.
_SECONDS_OF_HEALTH = 30.0


async def supervise(settings: Settings) -> int:
    """Runs `settings.workers` servers until a signal; answers the exit code.

    A worker that dies is started again. A signal is passed on to all, and they are waited for; so
    it ends with 0 when all of them did. Should this process be killed, the workers end too.

    Raises:
        SettingsError: the port cannot be had, or the files for TLS.
    """
    # Else each worker would say what is wrong.
    Transport(settings)
    with closing(_reserved_port(settings.listen)) as port:
        address = f"{settings.listen.rpartition(':')[0]}:{port.getsockname()[1]}"
        return await _Workers(settings, address).run()


class _Workers:
    def __init__(self, settings: Settings, address: str) -> None:
        self._settings = settings
        self._count = settings.workers
        self._address = address
        self._made_key = (
            new_key(OPERATOR_KEY_PREFIX, os.urandom) if settings.operator_key is None else None
        )
        self._stop = asyncio.Event()
        self._exit_code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._stop.set)
        print(f"Octohooks serves gRPC at {self._address} with {self._count} workers", flush=True)
        if self._made_key is not None:
            print(
                "No OCTOHOOKS_OPERATOR_KEY is set, so this start made one, good until the stop:\n"
                f"\n  {self._made_key}\n",
                flush=True,
            )
        await asyncio.gather(*(self._keep_running(number) for number in range(self._count)))
        log.info("stopped", workers=self._count)
        return self._exit_code

    async def _keep_running(self, number: int) -> None:
        """Runs a worker, and another one whenever it dies, until the stop."""
        loop = asyncio.get_running_loop()
        wait = _FIRST_SECONDS_BEFORE_A_RESTART
        while not self._stop.is_set():
            began = loop.time()
            try:
                code = await self._run_once(number)
            except OSError as error:
                # There is no memory for another process at the moment, perhaps.
                log.error("worker_not_started", worker=number, error=error.strerror)
                code = os.EX_OSERR
            if self._stop.is_set():
                # A signal may have met it before it could listen to any.
                is_ended = code in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)
                self._exit_code = self._exit_code or (0 if is_ended else code)
                return
            log.error("worker_ended", worker=number, code=code)
            if code == WRONG_SETTINGS:
                self._exit_code = code
                self._stop.set()
                return
            if loop.time() - began > _SECONDS_OF_HEALTH:
                wait = _FIRST_SECONDS_BEFORE_A_RESTART
            await first_of(self._stop.wait(), asyncio.sleep(wait))
            wait = min(2 * wait, _MOST_SECONDS_BEFORE_A_RESTART)

    async def _run_once(self, number: int) -> int:
        """Runs one worker to its end, or through the stop; answers its exit code."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "octohooks_server",
            WORKER_ARGUMENT,
            env=self._environment(number),
            stdin=asyncio.subprocess.PIPE,
        )
        await first_of(process.wait(), self._stop.wait())
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        return await _exit_code(process)

    def _environment(self, number: int) -> Mapping[str, str]:
        variables = {
            "OCTOHOOKS_WORKERS": "1",
            "OCTOHOOKS_LISTEN": self._address,
            "OCTOHOOKS_SHARE_PORT": "true",
        }
        if self._made_key is not None:
            variables["OCTOHOOKS_OPERATOR_KEY"] = self._made_key
        metrics_listen = self._settings.metrics_listen_of(number)
        if metrics_listen is not None:
            variables["OCTOHOOKS_METRICS_LISTEN"] = metrics_listen
        return os.environ | variables


async def _exit_code(process: Process) -> int:
    """As a shell gives it: 128 and the signal's number for a process that a signal ended."""
    code = await process.wait()
    return 128 - code if code < 0 else code


async def first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them is done; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _reserved_port(listen: str) -> socket.socket:
    """A socket that holds the port for the workers and takes no connections itself.

    Whoever wants it shared gets it, so it is asked first whether it could be had alone.
    """
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as alone:
            # Connections that have just ended are in nobody's way.
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(place)
        reserved = socket.socket(family, kind, protocol)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(place)
        except OSError:
            reserved.close()
            raise
    except OSError:
        raise SettingsError(
            f"OCTOHOOKS_LISTEN is {listen}, which cannot be listened at; another program may be"
            " doing so."
        ) from None
    return reserved
