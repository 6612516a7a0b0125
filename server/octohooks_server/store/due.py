"""Values that pass between the store and the delivery loop and never cross the wire."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from octohooks_server.store.destinations import Destination


class DueDelivery(NamedTuple):
    """A delivery that this server has claimed and may attempt until `lease_ends_at`."""

    destination: Destination
    message_id: str
    event_type: str
    payload: bytes
    # The fence: what came of the attempt is recorded only while this is the newest claim.
    claim: int
    # Attempts recorded before this one, and how many of them the schedule set going.
    attempt_count: int
    scheduled_count: int
    # Whether a caller asked for this attempt.
    manual: bool
    created_at: datetime
    lease_ends_at: datetime
    # The trace that its attempts continue, as a W3C `traceparent`.
    trace_parent: str | None = None


class Outcome(NamedTuple):
    """What came of one attempt, and what is to follow."""

    delivery: DueDelivery
    started_at: datetime
    duration: timedelta
    succeeded: bool
    response_status: int
    response_headers: Sequence[tuple[str, str]]
    response_body: bytes
    response_body_truncated: bool
    error_kind: int
    error_detail: str
    # When the schedule's next attempt is due, should this one have failed; None at its end.
    retry_at: datetime | None
    # Whether the endpoint said that it is gone for good.
    endpoint_gone: bool
