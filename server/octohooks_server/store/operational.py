"""Operational webhooks: what happens to endpoints and deliveries is a message to the owner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from octohooks.v1.endpoint_pb2 import DisableReason
from octohooks.v1.message_pb2 import Message
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.rules.ids import MESSAGE, IdFactory
from octohooks_server.store.acceptance import Draft, accept
from octohooks_server.store.applications import IS_OPERATIONAL
from octohooks_server.store.database import among
from octohooks_server.store.tables import applications

ENDPOINT_CREATED = "endpoint.created"
ENDPOINT_UPDATED = "endpoint.updated"
ENDPOINT_DELETED = "endpoint.deleted"
ENDPOINT_ENABLED = "endpoint.enabled"
ENDPOINT_DISABLED = "endpoint.disabled"
ATTEMPT_FAILING = "message.attempt.failing"
ATTEMPT_EXHAUSTED = "message.attempt.exhausted"
ATTEMPT_RECOVERED = "message.attempt.recovered"

EVENT_TYPES = (
    ENDPOINT_CREATED,
    ENDPOINT_UPDATED,
    ENDPOINT_DELETED,
    ENDPOINT_ENABLED,
    ENDPOINT_DISABLED,
    ATTEMPT_FAILING,
    ATTEMPT_EXHAUSTED,
    ATTEMPT_RECOVERED,
)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the environment's owner may want to know."""

    environment_id: str
    # The application that it is about.
    application_id: str
    event_type: str
    data: Mapping[str, str | int]


def disable_reason_name(reason: DisableReason.ValueType) -> str:
    """How a payload names the reason for which an endpoint was disabled."""
    return DisableReason.Name(reason).removeprefix("DISABLE_REASON_").lower()


async def notify(
    conn: AsyncConnection, notices: Sequence[Notice], *, now: datetime, ids: IdFactory
) -> None:
    """Accepts a message for each notice whose environment has operational webhooks.

    It becomes durable together with what it tells of, and is due at once. What happens to
    operational webhooks themselves is not told, or a failing one would feed itself.
    """
    if not notices:
        return
    owners = {
        row.environment_id: row.id
        for row in await conn.execute(
            select(applications.c.environment_id, applications.c.id).where(
                among(applications.c.environment_id, {one.environment_id for one in notices}),
                IS_OPERATIONAL,
            )
        )
    }
    drafts = [
        Draft(
            environment_id=notice.environment_id,
            application=owner,
            message=_message(notice, ids.new(MESSAGE), now),
            is_operational=True,
        )
        for notice in notices
        if (owner := owners.get(notice.environment_id)) is not None
        and owner != notice.application_id
    ]
    if drafts:
        await accept(conn, drafts, now=now, lease=timedelta(0), may_claim=lambda _: False)


def _message(notice: Notice, id: str, now: datetime) -> Message:
    payload = {
        "type": notice.event_type,
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"application": notice.application_id, **notice.data},
    }
    return Message(id=id, event_type=notice.event_type, payload=orjson.dumps(payload))
