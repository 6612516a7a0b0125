"""One attempt: a POST, what follows from what came of it, and both on disk."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from octohooks_server.delivery.exchange import Exchange
from octohooks_server.delivery.judge import outcome_of
from octohooks_server.delivery.keys import live_keys
from octohooks_server.errors import ResourceExhausted, Unavailable
from octohooks_server.rules.signing import SigningKey
from octohooks_server.store.due import DueDelivery, Outcome
from octohooks_server.store.group_commit import GroupCommit
from octohooks_server.store.outcomes import Recorded

log = structlog.get_logger()

_SECONDS_AFTER_A_FAILURE = 1.0
# When many attempts fail at once, so many of them at a time are recorded: a failure can wait for
# its turn, and whoever succeeds meanwhile does not have to wait behind all of them.
_FAILURES_AT_ONCE = 32


class Sends(Protocol):
    """What makes one POST; `delivery.sender.Sender` is the real one."""

    async def send(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        message_id: str,
        body: bytes,
        keys: Sequence[SigningKey],
    ) -> Exchange:
        """Makes one POST; whatever the receiver does is a value."""
        ...


class Attempts:
    """Makes attempts at deliveries that this server has claimed."""

    def __init__(
        self,
        *,
        sender: Sends,
        outcomes: GroupCommit[Outcome, Recorded],
        clock: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        """`random` in [0, 1) places retries in their jitter."""
        self._sender = sender
        self._outcomes = outcomes
        self._clock = clock
        self._random = random
        self._failures = asyncio.Semaphore(_FAILURES_AT_ONCE)

    async def post(self, delivery: DueDelivery) -> Exchange | None:
        """Makes the POST; None when it could not be signed, and was not made."""
        destination = delivery.destination
        keys = live_keys(destination.secrets, clock=self._clock)
        if not keys:
            # It falls due again when its claim ends, and is read anew; never is it sent unsigned.
            log.error(
                "delivery_not_signed",
                message=delivery.message_id,
                endpoint=destination.endpoint_id,
                reason=destination.obstacle or "its secrets have expired since it was claimed",
            )
            return None
        return await self._sender.send(
            url=destination.url,
            headers=destination.headers,
            message_id=delivery.message_id,
            body=delivery.payload,
            keys=keys,
        )

    async def record(self, delivery: DueDelivery, exchange: Exchange) -> Recorded:
        """Records what came of the POST, however long the database is away."""
        outcome = outcome_of(delivery, exchange, clock=self._clock, random=self._random)
        if outcome.succeeded:
            recorded = await self._store(outcome)
        else:
            async with self._failures:
                recorded = await self._store(outcome)
        _log_attempt(outcome, recorded)
        return recorded

    async def _store(self, outcome: Outcome) -> Recorded:
        while True:
            try:
                return await self._outcomes.submit(outcome)
            except (Unavailable, ResourceExhausted):
                # The database is away or full; the outcome is kept until it is back.
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)
            except Exception as error:
                # Another server attempts it again once the claim has ended; until then, this one's
                # outcome is worth another try.
                if self._clock() >= outcome.delivery.lease_ends_at:
                    raise
                log.error("recording_failed", exc_info=error)
                await asyncio.sleep(_SECONDS_AFTER_A_FAILURE)


def _log_attempt(outcome: Outcome, recorded: Recorded) -> None:
    if outcome.succeeded:
        level = logging.DEBUG
    elif recorded.ended:
        level = logging.WARNING
    else:
        level = logging.INFO
    if not log.is_enabled_for(level):
        return
    delivery = outcome.delivery
    log.log(
        level,
        "attempt",
        message=delivery.message_id,
        endpoint=delivery.destination.endpoint_id,
        number=delivery.attempt_count + 1,
        succeeded=outcome.succeeded,
        status=outcome.response_status,
        error=outcome.error_detail,
        seconds=outcome.duration.total_seconds(),
        recorded=recorded.applied,
        delivery_ended=recorded.ended,
        next_due_at=recorded.next_due_at and recorded.next_due_at.isoformat(),
        # The trace's ID alone, by which the trace is found.
        trace_id=delivery.trace_parent and delivery.trace_parent.split("-")[1],
    )
