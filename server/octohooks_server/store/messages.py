"""Messages: what applications are sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from octohooks.v1.message_pb2 import Message
from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from octohooks_server.errors import NotFound
from octohooks_server.rules.ids import MESSAGE
from octohooks_server.store import proto_values as values
from octohooks_server.store.columns import tag_text
from octohooks_server.store.database import same
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import applications, messages

# Every column but the payload: lists never read it.
_WITHOUT_PAYLOAD = [column for column in messages.c if column.name != "payload"]
_PAYLOAD_DELETED = messages.c.payload.is_(None).label("payload_deleted")


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a list is about; what is empty filters nothing."""

    event_types: Sequence[str] = ()
    # At least one of these.
    channels: Sequence[str] = ()
    # All of these, with these values.
    tags: Mapping[str, str] = field(default_factory=dict)
    # Accepted at this time or later, and before that one.
    after: datetime | None = None
    before: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as conditions on the `messages` table."""
        found: list[ColumnElement[bool]] = self.content_conditions()
        if self.after is not None:
            found.append(messages.c.created_at >= self.after)
        if self.before is not None:
            found.append(messages.c.created_at < self.before)
        return found

    def content_conditions(self) -> list[ColumnElement[bool]]:
        """The part of the filter that is about the message itself and not about time."""
        found: list[ColumnElement[bool]] = []
        if self.event_types:
            found.append(messages.c.event_type.in_(self.event_types))
        if self.channels:
            found.append(or_(*(_holds(messages.c.channels, f'"{one}"') for one in self.channels)))
        for key, value in self.tags.items():
            found.append(_holds(messages.c.tags, tag_text(key, value)))
        return found


async def get(
    conn: AsyncConnection, *, application_id: str, reference: str, with_payload: bool = False
) -> Message:
    """The application's message with this ID or UID, or NotFound."""
    columns = [*_WITHOUT_PAYLOAD, _PAYLOAD_DELETED]
    if with_payload:
        columns.append(messages.c.payload)
    row = (
        await conn.execute(
            select(*columns).where(messages.c.application_id == application_id, matches(reference))
        )
    ).first()
    if row is None:
        raise NotFound("message", reference)
    return to_message(row._mapping)


async def get_id(
    conn: AsyncConnection, *, environment_id: str, application_id: str | None, reference: str
) -> str:
    """The ID of the environment's message with this ID or UID, or NotFound.

    Without an application, `reference` is an ID, and the messages of deleted applications are not
    found.
    """
    query = (
        select(messages.c.id)
        .join(
            applications,
            and_(
                same(applications.c.environment_id, messages.c.environment_id),
                applications.c.id == messages.c.application_id,
            ),
        )
        .where(
            messages.c.environment_id == environment_id,
            applications.c.deleted_at.is_(None),
            matches(reference),
        )
    )
    if application_id is not None:
        query = query.where(messages.c.application_id == application_id)
    id = await conn.scalar(query)
    if id is None:
        raise NotFound("message", reference)
    return str(id)


async def list_page(
    conn: AsyncConnection,
    *,
    application_id: str,
    matching: MessageFilter,
    before: str | None,
    limit: int,
) -> Page[Message]:
    """The messages of an application, newest first, without payloads."""
    query = select(*_WITHOUT_PAYLOAD, _PAYLOAD_DELETED).where(
        messages.c.application_id == application_id, *matching.conditions()
    )
    if before is not None:
        query = query.where(messages.c.id < before)
    rows = await conn.execute(query.order_by(messages.c.id.desc()).limit(limit + 1))
    return page_of(rows.mappings().all(), limit, lambda row: row["id"], to_message)


def to_message(row: RowMapping) -> Message:
    """The entity of a row; with its payload when the row holds that column."""
    return Message(
        id=row["id"],
        uid=row["uid"] or "",
        application=row["application_id"],
        event_type=row["event_type"],
        payload=row.get("payload") or b"",
        channels=row["channels"] or (),
        tags=row["tags"] or {},
        payload_retention=values.duration(row["payload_retention"]),
        payload_expire_time=values.timestamp(row["payload_expires_at"]),
        payload_deleted=row["payload_deleted"],
        create_time=values.timestamp(row["created_at"]),
    )


def matches(reference: str) -> ColumnElement[bool]:
    """The condition that a message has this ID or UID."""
    if reference.startswith(MESSAGE):
        return messages.c.id == reference
    return messages.c.uid == reference


def _holds(column: ColumnElement[str], fragment: str) -> ColumnElement[bool]:
    # Case-sensitive on every database, which LIKE is not.
    return func.replace(column, fragment, "") != column
