"""The named checks that servicers begin with; all problems of a request are told at once."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

from octohooks_server.errors import InvalidArgument, NotFound, ResourceExhausted
from octohooks_server.rules.ids import looks_like_an_id
from octohooks_server.rules.metadata import metadata_problem
from octohooks_server.rules.names import (
    channel_count_problem,
    channel_problem,
    event_type_problem,
    uid_problem,
)
from octohooks_server.rules.schedule import schedule_problem
from octohooks_server.store import proto_values as values

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 250
MAX_PAYLOAD_BYTES = 350 * 1024
MAX_RATE_LIMIT = 100_000
_MIN_RETENTION = timedelta(days=5)
_MAX_RETENTION = timedelta(days=90)


class Checks:
    """Collects what is wrong with a request, field by field."""

    def __init__(self) -> None:
        self._violations: list[tuple[str, str]] = []

    def done(self) -> None:
        """Raises InvalidArgument when anything was wrong."""
        if self._violations:
            raise InvalidArgument(self._violations)

    def problem(self, field: str, sentence: str | None) -> None:
        """Notes a problem, if there is one."""
        if sentence is not None:
            self._violations.append((field, sentence))

    def required(self, field: str, value: object) -> bool:
        """The field must be set; answers whether it is."""
        if not value:
            self.problem(field, "The field is required.")
        return bool(value)

    def reference(self, field: str, reference: str, *, required: bool = True) -> None:
        """An ID, a UID or a name; one that is too long to be any is simply not found."""
        if required:
            self.required(field, reference)
        self._no_nul(field, reference)

    def _no_nul(self, field: str, value: str) -> None:
        if "\0" in value:
            # PostgreSQL holds none.
            self.problem(field, "The character U+0000 is not allowed.")

    def text(self, field: str, value: str, *, most: int, required: bool = False) -> None:
        """A text of at most `most` characters."""
        if required and not self.required(field, value):
            return
        self._no_nul(field, value)
        if len(value) > most:
            self.problem(field, f"At most {most:,} characters are kept, not {len(value):,}.")

    def uid(self, field: str, uid: str) -> None:
        """A UID, or nothing."""
        if uid:
            self.problem(field, uid_problem(uid))

    def event_type(self, field: str, name: str) -> None:
        """The name of an event type, required."""
        if self.required(field, name):
            self.problem(field, event_type_problem(name))

    def event_types(self, field: str, names: Sequence[str], *, most: int) -> None:
        """Names of event types, or nothing."""
        if len(names) > most:
            self.problem(field, f"There are at most {most} event types, not {len(names)}.")
        for index, name in enumerate(names[:most]):
            self.problem(f"{field}[{index}]", event_type_problem(name))

    def channels(self, field: str, channels: Sequence[str], *, most: int) -> None:
        """Channels, or nothing."""
        if not channels:
            return
        self.problem(field, channel_count_problem(channels, limit=most))
        for index, channel in enumerate(channels[:most]):
            self.problem(f"{field}[{index}]", channel_problem(channel))

    def metadata(self, field: str, metadata: Mapping[str, str]) -> None:
        """Metadata or tags."""
        self.problem(field, metadata_problem(metadata))

    def rate_limit(self, field: str, limit: int) -> None:
        """Messages per second."""
        if limit > MAX_RATE_LIMIT:
            self.problem(field, f"A rate limit is at most {MAX_RATE_LIMIT:,} messages per second.")

    def retry_schedule(self, field: str, schedule: RetrySchedule) -> None:
        """The steps of a schedule that is set."""
        try:
            steps = values.steps_of(schedule)
        except ValueError:
            self.problem(field, "A step is not a valid duration.")
        else:
            self.problem(field, schedule_problem(steps))

    def retention(self, field: str, message: Message, name: str) -> None:
        """The retention field `name` of `message`: unset, or 5 to 90 days."""
        if message.HasField(name):
            self.duration(
                field,
                getattr(message, name),
                least=_MIN_RETENTION,
                most=_MAX_RETENTION,
                range_text="5 to 90 days",
            )

    def duration(
        self, field: str, value: Duration, *, least: timedelta, most: timedelta, range_text: str
    ) -> timedelta | None:
        """A duration within bounds; answers it, or None when it is wrong."""
        try:
            span = values.span(value)
        except ValueError:
            span = None
        if span is None or not least <= span <= most:
            self.problem(field, f"The duration must be {range_text}.")
            return None
        return span

    def time(self, field: str, message: Message, name: str) -> datetime | None:
        """The time in the field `name` of `message`; None when it is unset or wrong."""
        if not message.HasField(name):
            return None
        value: Timestamp = getattr(message, name)
        try:
            return values.moment(value)
        except (ValueError, OverflowError):
            self.problem(field, "The time is not between the years 1 and 9999.")
            return None

    def range(self, field: str, after: datetime | None, before: datetime | None) -> None:
        """Two times of which the second, named by `field`, must lie behind the first."""
        if after is not None and before is not None and before <= after:
            self.problem(field, "The range is empty: it ends before it begins.")

    def known_values(self, field: str, numbers: Iterable[int]) -> None:
        """Enum values of a filter, of which none may be the unspecified one."""
        for index, number in enumerate(numbers):
            if number == 0:
                self.problem(f"{field}[{index}]", "The value must not be unspecified.")

    def output_only(self, prefix: str, message: Message, names: Collection[str]) -> None:
        """Fields that a caller may not set."""
        for field, _ in message.ListFields():
            if field.name in names:
                self.problem(f"{prefix}.{field.name}", "The field is set by the server alone.")

    def made_by_uid(self, field: str, reference: str) -> None:
        """What an update refers to and does not exist is made, unless it was an ID: NotFound."""
        if looks_like_an_id(reference):
            raise NotFound(field, reference)
        self.uid(field, reference)

    def page_size(self, size: int) -> int:
        """How many to answer."""
        if size < 0:
            self.problem("page_size", "A page size is not negative.")
        return min(size, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE

    def payload(self, field: str, payload: bytes) -> None:
        """JSON text of at most 350 KiB; too large a one is ResourceExhausted at once."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ResourceExhausted(
                f"{field}: The payload has {len(payload):,} bytes and may have"
                f" {MAX_PAYLOAD_BYTES:,}.",
                reason="PAYLOAD_TOO_LARGE",
            )
        if not self.required(field, payload):
            return
        try:
            orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            self.problem(
                field, f"The payload is not valid JSON (line {error.lineno}, column {error.colno})."
            )
