"""How servicers write the audit log."""

from collections.abc import Collection

from google.protobuf.message import Message
from octohooks.v1.audit_pb2 import AuditEvent
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.caller import current_call
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.rules.ids import AUDIT_EVENT
from octohooks_server.store import audit


class AuditLog:
    """Writes what the running call does, inside the transaction that does it."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._ids = dependencies.ids
        self._clock = dependencies.clock

    async def record(
        self,
        conn: AsyncConnection,
        resource_type: str,
        resource: str,
        *,
        environment_id: str | None = None,
        application_id: str = "",
        changed: Collection[str] = (),
    ) -> None:
        """Writes that the call was about this resource, and which fields it set or changed.

        `changed` are names of fields, never what is in them. The environment is the caller's unless
        it is given.
        """
        call = current_call()
        await audit.add(
            conn,
            AuditEvent(
                id=self._ids.new(AUDIT_EVENT),
                environment=environment_id or call.caller.environment_id or "",
                api_key=call.caller.api_key_id or "",
                api_key_name=call.caller.api_key_name or "",
                method=call.rpc,
                resource_type=resource_type,
                resource=resource,
                application=application_id,
                changed_fields=sorted(changed),
                request_id=call.request_id,
                peer=call.peer,
            ),
            now=self._clock(),
        )


def fields_set(message: Message) -> list[str]:
    """The names of the fields that a new entity was given."""
    return [field.name for field, _ in message.ListFields()]


def fields_changed(before: Message, after: Message) -> list[str]:
    """The names of the fields in which two states of an entity differ."""
    earlier = {field.name: value for field, value in before.ListFields()}
    later = {field.name: value for field, value in after.ListFields()}
    return [name for name in {**earlier, **later} if earlier.get(name) != later.get(name)]
