"""What is measured: a base, and scenarios that differ from it in what their names say."""

from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["unary", "batch", "stream"]
Engine = Literal["sqlite", "postgresql"]
Role = Literal["all", "api", "delivery"]

MESSAGES_PER_BATCH = 100
# How many calls a load has under way, and over a stream how many messages each of them has.
_CALLERS: dict[Mode, int] = {"unary": 64, "batch": 4, "stream": 4}
STREAM_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one kind of installation. The defaults are the base."""

    name: str
    # How the callers send: a message a call, 100 a call, or over bidirectional streams.
    mode: Mode = "unary"
    # How many are sent after the warm-up, and for how many seconds at most. Everything has to have
    # arrived within twice as long.
    messages: int = 5_000
    seconds: float = 60.0
    payload_bytes: int = 1_024
    # Customers that messages are sent to in turn, and how many endpoints each has.
    applications: int = 10
    fan_out: int = 1
    # Every second endpoint answers 500, and gets a second attempt after a second.
    half_fails: bool = False
    # Open watches of the whole environment.
    watchers: int = 0
    # Messages, deliveries and attempts that are in the database beforehand, so many of each.
    history_rows: int = 0
    # Whether each message carries an idempotency key, as those of the SDK do.
    idempotency_keys: bool = False
    # What part of the top rate, which is measured first, is sent; None sends as fast as possible.
    share_of_top_rate: float | None = None
    engine: Engine = "sqlite"
    # A server for each; PostgreSQL alone can have more than one.
    roles: tuple[Role, ...] = ("all",)
    # Processes of each server.
    workers: int = 1

    @property
    def callers(self) -> int:
        """How many calls are under way at once."""
        return _CALLERS[self.mode]

    @property
    def compares(self) -> bool:
        """Whether the load is measured twice: plainly first, then as the scenario says."""
        return self.watchers > 0 or self.share_of_top_rate is not None

    def of_messages(self, messages: int) -> "Scenario":
        """The same with another number of messages."""
        return replace(self, messages=messages)

    def quick(self) -> "Scenario":
        """The same with a tenth of the messages and of the history."""
        return replace(
            self, messages=max(self.messages // 10, 50), history_rows=self.history_rows // 10
        )


_DEFAULT = (
    Scenario("unary"),
    Scenario("batch", mode="batch", messages=10_000),
    Scenario("stream", mode="stream", messages=10_000),
    Scenario("half-rate", share_of_top_rate=0.5, messages=3_000),
    Scenario("fan-out-5", fan_out=5, messages=2_000),
    Scenario("fan-out-50", fan_out=50, messages=200),
    Scenario("payload-40k", payload_bytes=40 * 1024, messages=2_000),
    Scenario("payload-350k", payload_bytes=350 * 1024, messages=300),
    Scenario("watch-100", watchers=100, messages=2_000),
    Scenario("half-failing", half_fails=True, messages=3_000),
    Scenario("history-1m", history_rows=1_000_000),
    Scenario("postgresql-unary", engine="postgresql"),
    Scenario("postgresql-batch", engine="postgresql", mode="batch", messages=10_000),
)

_MORE = (
    Scenario("watch-1", watchers=1, messages=2_000),
    Scenario("watch-1000", watchers=1_000, messages=500),
    Scenario("keyed", idempotency_keys=True),
    # Long enough to see whether memory grows.
    Scenario("long", mode="batch", messages=200_000, seconds=600.0),
    Scenario("postgresql-stream", engine="postgresql", mode="stream", messages=10_000),
    Scenario("postgresql-half-rate", engine="postgresql", share_of_top_rate=0.5),
    Scenario("postgresql-watch-100", engine="postgresql", watchers=100, messages=2_000),
    Scenario("postgresql-history-1m", engine="postgresql", history_rows=1_000_000),
    Scenario("postgresql-roles-unary", engine="postgresql", roles=("api", "delivery")),
    Scenario(
        "postgresql-roles-half-rate",
        engine="postgresql",
        roles=("api", "delivery"),
        share_of_top_rate=0.5,
    ),
    Scenario(
        "postgresql-roles-batch",
        engine="postgresql",
        roles=("api", "delivery"),
        mode="batch",
        messages=10_000,
    ),
    Scenario("postgresql-workers-2", engine="postgresql", workers=2),
    Scenario("postgresql-workers-4", engine="postgresql", workers=4),
)

ALL = {scenario.name: scenario for scenario in (*_DEFAULT, *_MORE)}
DEFAULT = {scenario.name: scenario for scenario in _DEFAULT}
