"""Puts together what is observed of a server, and serves it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from octohooks_server.api.server import ApiServer
from octohooks_server.delivery.loop import DeliveryLoop
from octohooks_server.health import Health, Part
from octohooks_server.observation.backlog import Backlog
from octohooks_server.observation.metrics import Metrics
from octohooks_server.observation.tracing import open_traces
from octohooks_server.settings import Settings, SettingsError
from octohooks_server.store.acceptance import Accepted, Draft
from octohooks_server.store.database import Database
from octohooks_server.store.due import Outcome
from octohooks_server.store.outcomes import Recorded

if TYPE_CHECKING:
    from octohooks_server.observation.endpoint import ObservationPort

log = structlog.get_logger()


class Observation:
    """The metrics of one server and, where it is asked for, the port that they are read at."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self._traces = open_traces()
        # What begins the trace of a message; None where there are no traces.
        self.begin_trace = self._traces.begin if self._traces is not None else None
        self._settings = settings
        self._port: ObservationPort | None = None

    def follow(
        self,
        *,
        database: Database,
        clock: Callable[[], datetime],
        api: ApiServer,
        loop: DeliveryLoop | None,
        health: Health,
        parts: Sequence[Part],
    ) -> None:
        """Shows how these are; `loop` is None where the server does not deliver."""
        metrics = self.metrics
        database.observe_error = metrics.database_failed
        backlog = Backlog(database, clock, api.watches.looked_up_to)
        metrics.deliveries_due.follow(backlog.value(lambda one: one.due))
        metrics.oldest_due_age.follow(backlog.value(lambda one: one.oldest_due_age_seconds))
        metrics.watch_lag.follow(backlog.value(lambda one: one.watch_lag))
        metrics.watches_open.follow(lambda: api.watches.open)
        metrics.serving.follow(lambda: float(health.is_serving))
        metrics.follow_parts(lambda: {part.name: part.seconds_since_progress() for part in parts})
        if loop is not None:
            metrics.attempts_in_flight.follow(lambda: loop.in_flight)
            metrics.attempts_in_flight_max.follow(lambda: self._settings.max_in_flight)
            metrics.deliveries_waiting.follow(lambda: loop.waiting)
        if self._settings.metrics_listen is not None:
            # Here, since it takes a tenth of a start's time.
            from octohooks_server.observation.endpoint import ObservationPort

            self._port = ObservationPort(
                metrics.registry,
                refresh=backlog.refresh,
                is_live=lambda: not health.failed.is_set(),
                is_ready=lambda: health.is_serving,
            )

    def messages_committed(
        self, drafts: Sequence[Draft], results: Sequence[Accepted | Exception], seconds: float
    ) -> None:
        """Takes note of a group of messages, stored or not."""
        with _harmless():
            self.metrics.messages_committed(drafts, results, seconds)

    def outcomes_committed(
        self, outcomes: Sequence[Outcome], results: Sequence[Recorded | Exception], seconds: float
    ) -> None:
        """Takes note of a group of outcomes, recorded or not."""
        with _harmless():
            self.metrics.outcomes_committed(outcomes, results, seconds)
            if self._traces is not None:
                self._traces.attempted(outcomes, results)

    async def start(self) -> str | None:
        """Serves the port; answers its `address:port`, or None where none is asked for.

        Raises:
            SettingsError: the port cannot be had.
        """
        listen = self._settings.metrics_listen
        if self._port is None or listen is None:
            return None
        host, _, port = listen.rpartition(":")
        try:
            taken = await self._port.start(host.strip("[]"), int(port))
        except OSError:
            raise SettingsError(
                f"OCTOHOOKS_METRICS_LISTEN is {listen}, which cannot be listened at; another"
                " program may be doing so."
            ) from None
        return f"{host}:{taken}"

    async def stop(self) -> None:
        """Serves the port no more, and sends the traces that are left."""
        if self._port is not None:
            await self._port.stop()
        if self._traces is not None:
            await self._traces.close()


@contextmanager
def _harmless() -> Iterator[None]:
    """Lets no defect in what observes harm what is observed."""
    try:
        yield
    except Exception as error:
        log.error("observation_failed", exc_info=error)
