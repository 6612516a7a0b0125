"""Every metric of a server, and what counts it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from platform import python_version

from octohooks.v1.attempt_pb2 import ErrorKind
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED, DELIVERY_STATUS_SUCCEEDED
from octohooks.v1.endpoint_pb2 import DisableReason
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from octohooks_server.errors import OctohooksError
from octohooks_server.observation.instruments import Counter, Gauge, Histogram, Instrument
from octohooks_server.store.acceptance import Accepted, Draft
from octohooks_server.store.due import Outcome
from octohooks_server.store.outcomes import Recorded

# Up to the longest timeout of an attempt.
_EXCHANGE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# A backlog can hold a first attempt up for long.
_DELAY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_GROUP_SIZES = (1, 2, 5, 10, 20, 50, 100, 200)

_ERROR_KINDS: dict[int, str] = {
    number: name.removeprefix("ERROR_KIND_").lower() if number else "none"
    for name, number in ErrorKind.items()
}
_ENDS: dict[int, str] = {DELIVERY_STATUS_SUCCEEDED: "succeeded", DELIVERY_STATUS_FAILED: "failed"}
_DISABLE_REASONS: dict[int, str] = {
    number: name.removeprefix("DISABLE_REASON_").lower() for name, number in DisableReason.items()
}
# By the reasons of the errors.
_DATABASE_ERRORS = {"DATABASE_UNAVAILABLE": "away", "STORAGE_FULL": "full"}


class Metrics(Collector):
    """The metrics of one server. No label holds an ID or anything else that callers choose."""

    def __init__(self) -> None:
        self.messages_accepted = Counter(
            "octohooks_messages_accepted_total",
            "Messages that were stored and acknowledged; repeated calls with one key count once.",
        )
        self.attempts = Counter(
            "octohooks_attempts_total",
            "Attempts that were made and recorded. `attempt` is first, retry or manual (asked for"
            " by a caller); `outcome` is succeeded or failed; `error_kind` says why it failed, or"
            " none.",
            "attempt",
            "outcome",
            "error_kind",
        )
        self.attempt_duration = Histogram(
            "octohooks_attempt_duration_seconds",
            "From the beginning of an attempt, name look-up included, to its end.",
            "outcome",
            bounds=_EXCHANGE_SECONDS,
        )
        self.first_attempt_delay = Histogram(
            "octohooks_first_attempt_delay_seconds",
            "From the time that a delivery was stored to the beginning of its first attempt.",
            bounds=_DELAY_SECONDS,
        )
        self.deliveries_ended = Counter(
            "octohooks_deliveries_ended_total",
            "Deliveries that an attempt ended: `status` is succeeded, or failed after the last one"
            " of the schedule.",
            "status",
        )
        self.endpoints_disabled = Counter(
            "octohooks_endpoints_disabled_total",
            "Endpoints that this server disabled: `reason` is failing, after days of failures"
            " only, or gone, after the status 410.",
            "reason",
        )
        self.attempts_in_flight = Gauge(
            "octohooks_attempts_in_flight", "Attempts that are under way or not recorded yet."
        )
        self.attempts_in_flight_max = Gauge(
            "octohooks_attempts_in_flight_max",
            "How many requests of attempts may be under way at once: OCTOHOOKS_MAX_IN_FLIGHT.",
        )
        self.deliveries_waiting = Gauge(
            "octohooks_deliveries_waiting",
            "Deliveries that this server has claimed and that wait in its memory.",
        )
        self.deliveries_due = Gauge(
            "octohooks_deliveries_due",
            "Deliveries that are due in the database and that no server has claimed; 10000 stands"
            " for 10000 or more. The same at all servers of one database.",
        )
        self.oldest_due_age = Gauge(
            "octohooks_oldest_due_delivery_age_seconds",
            "For how long the oldest of the due deliveries has been due; 0 when none is. The same"
            " at all servers of one database.",
        )
        self.watches_open = Gauge("octohooks_watches_open", "Watches that are open.")
        self.watch_lag = Gauge(
            "octohooks_watch_lag_events",
            "How many events the watch that is furthest behind has not looked at yet.",
        )
        self.grpc_calls = Counter(
            "octohooks_grpc_calls_total",
            "Calls that have ended, by method and status code.",
            "method",
            "code",
        )
        self.grpc_call_duration = Histogram(
            "octohooks_grpc_call_duration_seconds",
            "From the beginning of a call to its end; streams are not in it.",
            "method",
            bounds=_CALL_SECONDS,
        )
        self.commit_size = Histogram(
            "octohooks_commit_size",
            "How much was stored in one transaction: `group` is messages or outcomes.",
            "group",
            bounds=_GROUP_SIZES,
        )
        self.commit_duration = Histogram(
            "octohooks_commit_duration_seconds",
            "From the beginning of such a transaction, with the wait for its turn, to the disk.",
            "group",
            bounds=_COMMIT_SECONDS,
        )
        self.database_errors = Counter(
            "octohooks_database_errors_total",
            "Pieces of work that the database failed: `kind` is away (it cannot be reached or"
            " stays locked) or full.",
            "kind",
        )
        self.part_idle = Gauge(
            "octohooks_part_seconds_without_progress",
            "For how long a part of the server has made no progress: `part` is delivery, upkeep,"
            " messages or outcomes (the last two store what their name says).",
            "part",
        )
        self.serving = Gauge("octohooks_serving", "1 while the server's health is SERVING, else 0.")
        self.build_info = Gauge(
            "octohooks_build_info", "Always 1; says which release runs.", "version", "python"
        )
        release = (version("octohooks"), python_version())
        self.build_info.follow_all(lambda: {release: 1.0})
        # What alerts look at is there before it happens for the first time.
        for kind in _DATABASE_ERRORS.values():
            self.database_errors.begin(kind)
        for status in _ENDS.values():
            self.deliveries_ended.begin(status)
        for reason in ("failing", "gone"):
            self.endpoints_disabled.begin(reason)
        self.attempts.begin("first", "succeeded", "none")
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def instruments(self) -> Sequence[Instrument]:
        """All of them, in the order in which they are told about."""
        return [one for one in vars(self).values() if isinstance(one, Instrument)]

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        for instrument in self.instruments():
            yield instrument.family()

    def accepted(self, results: Sequence[Accepted | OctohooksError]) -> None:
        """Counts messages that are on disk."""
        new = sum(isinstance(one, Accepted) and not one.is_repetition for one in results)
        self.messages_accepted.add(amount=new)

    def messages_committed(
        self, drafts: Sequence[Draft], _: Sequence[Accepted | Exception], seconds: float
    ) -> None:
        """Counts a group of messages, stored or not."""
        self.commit_size.observe(len(drafts), "messages")
        self.commit_duration.observe(seconds, "messages")

    def outcomes_committed(
        self, outcomes: Sequence[Outcome], results: Sequence[Recorded | Exception], seconds: float
    ) -> None:
        """Counts a group of outcomes, and the attempts that they came of."""
        self.commit_size.observe(len(outcomes), "outcomes")
        self.commit_duration.observe(seconds, "outcomes")
        for outcome, recorded in zip(outcomes, results, strict=True):
            # What could not be recorded comes again.
            if isinstance(recorded, Recorded):
                self._attempted(outcome, recorded)

    def database_failed(self, error: OctohooksError) -> None:
        """Counts a piece of work that the database could not do."""
        kind = _DATABASE_ERRORS.get(error.reason)
        if kind is not None:
            self.database_errors.add(kind)

    def call_ended(self, method: str, code: str, seconds: float, *, is_stream: bool) -> None:
        """Counts a call; `method` is `Service/Method`, without the package."""
        self.grpc_calls.add(method, code)
        if not is_stream:
            self.grpc_call_duration.observe(seconds, method)

    def follow_parts(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Shows for how long each part has made no progress."""
        self.part_idle.follow_all(lambda: {(part,): seconds for part, seconds in read().items()})

    def _attempted(self, outcome: Outcome, recorded: Recorded) -> None:
        delivery = outcome.delivery
        attempt = "manual" if delivery.manual else "retry" if delivery.attempt_count else "first"
        ending = "succeeded" if outcome.succeeded else "failed"
        self.attempts.add(attempt, ending, _ERROR_KINDS[outcome.error_kind])
        self.attempt_duration.observe(outcome.duration.total_seconds(), ending)
        if attempt == "first":
            delay = (outcome.started_at - delivery.created_at).total_seconds()
            # The clock of what is due follows the one of signatures, and can be a little ahead.
            self.first_attempt_delay.observe(max(delay, 0.0))
        if recorded.ended and recorded.status in _ENDS:
            self.deliveries_ended.add(_ENDS[recorded.status])
        if recorded.disabled_for:
            self.endpoints_disabled.add(_DISABLE_REASONS[recorded.disabled_for])
