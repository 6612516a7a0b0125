"""The filters that lists of messages, deliveries and attempts share."""

from typing import Protocol

from octohooks.v1.attempt_service_pb2 import ListAttemptsRequest, ListDeliveriesRequest
from octohooks.v1.message_service_pb2 import ListMessagesRequest
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.checks import Checks
from octohooks_server.errors import InvalidArgument
from octohooks_server.rules.ids import ENDPOINT, MESSAGE
from octohooks_server.store import applications, endpoints, messages
from octohooks_server.store.deliveries import Scope
from octohooks_server.store.messages import MessageFilter

MAX_EVENT_TYPES = 50
_MAX_CHANNELS = 10
_MAX_TAGS = 10


def message_filter(
    checks: Checks, request: ListMessagesRequest | ListDeliveriesRequest | ListAttemptsRequest
) -> MessageFilter:
    """The part of a list request that is about messages."""
    checks.event_types("event_types", request.event_types, most=MAX_EVENT_TYPES)
    checks.channels("channels", request.channels, most=_MAX_CHANNELS)
    if len(request.tags) > _MAX_TAGS:
        checks.problem("tags", f"There are at most {_MAX_TAGS} tags in a filter.")
    after = checks.time("after", request, "after")
    before = checks.time("before", request, "before")
    checks.range("before", after, before)
    return MessageFilter(
        event_types=tuple(request.event_types),
        channels=tuple(request.channels),
        tags=dict(request.tags),
        after=after,
        before=before,
    )


class NamesScope(Protocol):
    """A request that is about an application, a message or an endpoint, each by ID or UID."""

    application: str
    message: str
    endpoint: str


async def resolve_scope(conn: AsyncConnection, environment_id: str, request: NamesScope) -> Scope:
    """The IDs behind the references of a request, of which any may be empty.

    NotFound for what the environment does not have. A UID of a message or endpoint needs its
    application, since it is unique only in there: InvalidArgument without it, and for a text that
    is no reference.
    """
    application, message, endpoint = request.application, request.message, request.endpoint
    checks = Checks()
    checks.reference("application", application, required=False)
    checks.reference("message", message, required=False)
    checks.reference("endpoint", endpoint, required=False)
    checks.done()
    for field, reference, prefix in (
        ("message", message, MESSAGE),
        ("endpoint", endpoint, ENDPOINT),
    ):
        if reference and not application and not reference.startswith(prefix):
            raise InvalidArgument.of(
                "application", f"A UID in {field} can only be found together with application."
            )
    application_id = message_id = endpoint_id = None
    if application:
        application_id = await applications.get_id(
            conn, environment_id=environment_id, reference=application
        )
    if message:
        message_id = await messages.get_id(
            conn, environment_id=environment_id, application_id=application_id, reference=message
        )
    if endpoint:
        endpoint_id = await endpoints.get_known_id(
            conn, environment_id=environment_id, application_id=application_id, reference=endpoint
        )
    return Scope(environment_id, application_id, message_id, endpoint_id)
