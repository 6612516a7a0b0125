"""Why endpoints got a message or did not."""

from datetime import datetime

from octohooks.v1.delivery_pb2 import Delivery
from octohooks.v1.message_service_pb2 import EndpointExplanation, RoutingRule
from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import Subquery

from octohooks_server.errors import NotFound
from octohooks_server.rules.filters import Refusal, refusal
from octohooks_server.store import deliveries
from octohooks_server.store.messages import matches
from octohooks_server.store.paging import Page, page_of
from octohooks_server.store.tables import deliveries as delivery_table
from octohooks_server.store.tables import endpoint_versions, endpoints, messages


async def list_page(
    conn: AsyncConnection, *, application_id: str, message: str, after: str | None, limit: int
) -> Page[EndpointExplanation]:
    """An explanation for each endpoint of the application, oldest first.

    A deleted endpoint is listed where the message was on its way to it. NotFound when the
    application has no message with this ID or UID.
    """
    row = (
        await conn.execute(
            select(
                messages.c.id,
                messages.c.event_type,
                messages.c.channels,
                messages.c.addressed_to,
                messages.c.created_at,
            ).where(messages.c.application_id == application_id, matches(message))
        )
    ).first()
    if row is None:
        raise NotFound("message", message)
    about = row._mapping
    in_force = _version_at(about["created_at"], application_id)
    query = (
        select(
            endpoints.c.id,
            in_force.c.valid_from,
            endpoint_versions.c.event_types,
            endpoint_versions.c.channels,
            endpoint_versions.c.disabled,
            *delivery_table.c,
        )
        .outerjoin(in_force, in_force.c.endpoint_id == endpoints.c.id)
        .outerjoin(
            endpoint_versions,
            and_(
                endpoint_versions.c.endpoint_id == endpoints.c.id,
                endpoint_versions.c.valid_from == in_force.c.valid_from,
            ),
        )
        .outerjoin(
            delivery_table,
            and_(
                delivery_table.c.message_id == about["id"],
                delivery_table.c.endpoint_id == endpoints.c.id,
            ),
        )
        .where(
            endpoints.c.application_id == application_id,
            or_(endpoints.c.deleted_at.is_(None), delivery_table.c.endpoint_id.is_not(None)),
        )
    )
    if after is not None:
        query = query.where(endpoints.c.id > after)
    rows = await conn.execute(query.order_by(endpoints.c.id).limit(limit + 1))
    return page_of(
        rows.mappings().all(), limit, lambda row: row["id"], lambda row: _explanation(row, about)
    )


def _version_at(time: datetime, application_id: str) -> Subquery:
    """Of each endpoint of the application, when the version began that was in force at a time."""
    return (
        select(
            endpoint_versions.c.endpoint_id,
            func.max(endpoint_versions.c.valid_from).label("valid_from"),
        )
        .join(endpoints, endpoints.c.id == endpoint_versions.c.endpoint_id)
        .where(endpoints.c.application_id == application_id, endpoint_versions.c.valid_from <= time)
        .group_by(endpoint_versions.c.endpoint_id)
        .subquery()
    )


def _explanation(row: RowMapping, message: RowMapping) -> EndpointExplanation:
    delivery: Delivery | None = None
    if row["message_id"] is not None:
        delivery = deliveries.to_delivery(row, event_type=message["event_type"])
    return EndpointExplanation(endpoint=row["id"], rule=_rule(row, message), delivery=delivery)


def _rule(version: RowMapping, message: RowMapping) -> RoutingRule.ValueType:
    """The first rule that applied when the message was accepted."""
    if version["valid_from"] is None:
        return RoutingRule.ROUTING_RULE_CREATED_LATER
    if message["addressed_to"] is not None:
        if message["addressed_to"] == version["id"]:
            return RoutingRule.ROUTING_RULE_ADDRESSED
        return RoutingRule.ROUTING_RULE_ADDRESSED_ELSEWHERE
    if version["disabled"]:
        return RoutingRule.ROUTING_RULE_DISABLED
    refused_by = refusal(
        version["event_types"] or (),
        version["channels"] or (),
        message["event_type"],
        message["channels"] or (),
    )
    if refused_by is Refusal.EVENT_TYPE:
        return RoutingRule.ROUTING_RULE_EVENT_TYPE
    if refused_by is Refusal.CHANNEL:
        return RoutingRule.ROUTING_RULE_CHANNEL
    return RoutingRule.ROUTING_RULE_MATCHED
