"""What endpoints' filters were at a time."""

from datetime import datetime

from sqlalchemy import delete, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.store.tables import endpoint_versions, endpoints


async def add(
    conn: AsyncConnection, *, environment_id: str, endpoint_id: str, now: datetime
) -> None:
    """Notes the filters that the endpoint has from `now` on."""
    await conn.execute(
        delete(endpoint_versions).where(
            endpoint_versions.c.endpoint_id == endpoint_id, endpoint_versions.c.valid_from >= now
        )
    )
    await conn.execute(
        insert(endpoint_versions).from_select(
            ["endpoint_id", "valid_from", "event_types", "channels", "disabled"],
            select(
                endpoints.c.id,
                literal(now, endpoint_versions.c.valid_from.type),
                endpoints.c.event_types,
                endpoints.c.channels,
                endpoints.c.disabled,
            ).where(endpoints.c.environment_id == environment_id, endpoints.c.id == endpoint_id),
        )
    )
