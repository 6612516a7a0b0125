"""The plain Python values that the client's methods take, named for type checkers.

The keys of each `TypedDict` are keyword arguments. They are named like the protobuf fields that
they fill, and the protos say what each means and which limits it has. `None` leaves a field unset;
in an update it clears it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Required, TypeAlias, TypedDict

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from octohooks.v1.application_pb2 import Application
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

TimeValue: TypeAlias = datetime | Timestamp
"""A point in time. A `datetime` needs a time zone, since one without means a different time on each
machine."""

DurationValue: TypeAlias = timedelta | float | Duration
"""A length of time; a number means seconds."""

RetryScheduleValue: TypeAlias = Sequence[timedelta | float] | RetrySchedule
"""The wait before each attempt; numbers mean seconds."""

JsonValue: TypeAlias = Mapping[str, Any] | Sequence[Any] | str | bytes
"""A JSON document: a mapping or a sequence is written as compact JSON; `str` and `bytes` are JSON
text already and go as they are."""

ApiKeyRoleValue: TypeAlias = Literal["full", "send", "read", "application"] | int
SignatureTypeValue: TypeAlias = Literal["hmac_sha256", "ed25519"] | int
DeliveryStatusValue: TypeAlias = Literal["pending", "succeeded", "failed", "cancelled"] | int
AttemptOutcomeValue: TypeAlias = Literal["succeeded", "failed"] | int
AttemptEventKindValue: TypeAlias = Literal["succeeded", "failed", "cancelled"] | int


class EnvironmentSettings(TypedDict, total=False):
    """The settings of an environment, as in `octohooks.v1.Environment`."""

    retry_schedule: RetryScheduleValue | None
    payload_retention: DurationValue | None
    default_signature_type: SignatureTypeValue | None
    enforce_schemas: bool | None


class EnvironmentChanges(EnvironmentSettings, total=False):
    """What an update of an environment can change."""

    name: str


class ApiKeyValues(TypedDict, total=False):
    """The fields of an API key, as in `octohooks.v1.ApiKey`."""

    name: str | None
    expire_time: TimeValue | None
    role: ApiKeyRoleValue | None
    application: str | None
    max_requests_per_second: int | None
    max_watches: int | None


class ApplicationValues(TypedDict, total=False):
    """The fields of an application, as in `octohooks.v1.Application`."""

    uid: str | None
    name: str | None
    rate_limit: int | None
    metadata: Mapping[str, str] | None


class EventTypeValues(TypedDict, total=False):
    """The fields of an event type, as in `octohooks.v1.EventType`."""

    description: str | None
    schema: JsonValue | None
    examples: Sequence[JsonValue] | None
    archived: bool | None
    metadata: Mapping[str, str] | None


class EndpointValues(TypedDict, total=False):
    """The optional fields of an endpoint, as in `octohooks.v1.Endpoint`."""

    uid: str | None
    description: str | None
    event_types: Sequence[str] | None
    channels: Sequence[str] | None
    headers: Mapping[str, str] | None
    rate_limit: int | None
    retry_schedule: RetryScheduleValue | None
    signature_type: SignatureTypeValue | None
    disabled: bool | None
    metadata: Mapping[str, str] | None


class EndpointChanges(EndpointValues, total=False):
    """What an update of an endpoint can change."""

    url: str


class OperationalWebhookValues(TypedDict, total=False):
    """The optional fields of an operational webhook, as in `octohooks.v1.OperationalWebhook`."""

    uid: str | None
    description: str | None
    event_types: Sequence[str] | None
    headers: Mapping[str, str] | None
    signature_type: SignatureTypeValue | None
    disabled: bool | None


class OperationalWebhookChanges(OperationalWebhookValues, total=False):
    """What an update of an operational webhook can change."""

    url: str


class MessageValues(TypedDict, total=False):
    """The optional fields of a message, as in `octohooks.v1.Message`."""

    uid: str | None
    channels: Sequence[str] | None
    tags: Mapping[str, str] | None
    payload_retention: DurationValue | None


class NewMessage(MessageValues, total=False):
    """One message of `message.create_batch`, with the arguments of `message.create`."""

    application: Required[str]
    event_type: Required[str]
    payload: Required[JsonValue]
    inline_application: ApplicationValues | Application | None


class PublishedMessage(NewMessage, total=False):
    """One message of `message.publish`, which can carry an idempotency key of its own."""

    idempotency_key: str | None


class MessageFilters(TypedDict, total=False):
    """Which messages a list holds; filters that are not given let everything through."""

    event_types: Sequence[str] | None
    channels: Sequence[str] | None
    tags: Mapping[str, str] | None
    after: TimeValue | None
    before: TimeValue | None


class DeliveryFilters(MessageFilters, total=False):
    """Which deliveries a list holds; filters that are not given let everything through."""

    application: str | None
    message: str | None
    endpoint: str | None
    statuses: Sequence[DeliveryStatusValue] | None


class AttemptFilters(MessageFilters, total=False):
    """Which attempts a list holds; filters that are not given let everything through."""

    application: str | None
    message: str | None
    endpoint: str | None
    outcomes: Sequence[AttemptOutcomeValue] | None


class WatchOptions(TypedDict, total=False):
    """What a watch shows and where it begins; unless told, everything from now on.

    `since` and `resume_token` exclude each other. An empty `resume_token` counts as none.
    """

    application: str | None
    endpoint: str | None
    message: str | None
    event_types: Sequence[str] | None
    kinds: Sequence[AttemptEventKindValue] | None
    since: TimeValue | None
    resume_token: str | None
