"""From what happened on the wire to what follows for the delivery."""

from collections.abc import Callable
from datetime import datetime

from octohooks_server.delivery.exchange import Exchange
from octohooks_server.rules.outcome import disables_endpoint, succeeded, time_asked_for
from octohooks_server.rules.schedule import later_of, next_attempt_time
from octohooks_server.store.due import DueDelivery, Outcome


def outcome_of(
    delivery: DueDelivery,
    exchange: Exchange,
    *,
    clock: Callable[[], datetime],
    random: Callable[[], float],
) -> Outcome:
    """The outcome of an attempt that has just ended; `random` in [0, 1) is for a retry's jitter.

    A manual attempt uses up no step of the schedule, so none follows from it.
    """
    has_succeeded = succeeded(exchange.status)
    retry_at = None
    if not has_succeeded and not delivery.manual:
        now = clock()
        retry_at = later_of(
            next_attempt_time(
                delivery.destination.schedule,
                attempt_number=delivery.scheduled_count + 2,
                failed_at=now,
                random=random(),
            ),
            time_asked_for(exchange.status, exchange.headers, now=now),
        )
    return Outcome(
        delivery=delivery,
        started_at=exchange.started_at,
        duration=exchange.duration,
        succeeded=has_succeeded,
        response_status=exchange.status,
        response_headers=exchange.headers,
        response_body=exchange.body,
        response_body_truncated=exchange.truncated,
        error_kind=exchange.error_kind,
        error_detail=exchange.error_detail,
        retry_at=retry_at,
        endpoint_gone=disables_endpoint(exchange.status),
    )
