"""Keys of one application: what they ask for is about that application alone."""

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from octohooks_server.api.caller import Caller
from octohooks_server.errors import NotFound
from octohooks_server.rules.ids import APPLICATION
from octohooks_server.store import applications
from octohooks_server.store.database import Database


def names_application(request_type: Any) -> bool:
    """Whether requests of this type, a descriptor, say which application they are about."""
    field = request_type.fields_by_name.get("application")
    return field is not None and field.type == FieldDescriptor.TYPE_STRING


async def confine(database: Database, request: Message, caller: Caller) -> None:
    """Makes the request name the only application that the caller's key opens.

    One that is left out is filled in, so that lists and watches are confined to it. NotFound, as
    for what does not exist, when it names another one.
    """
    own, environment_id = caller.application_id, caller.environment_id
    if own is None or environment_id is None:
        return
    reference: str = request.application  # type: ignore[attr-defined]
    if reference not in ("", own):
        found = None
        # U+0000 is in no UID, and PostgreSQL takes none.
        if not reference.startswith(APPLICATION) and "\0" not in reference:
            async with database.read() as conn:
                found = await applications.find_ids(
                    conn, environment_id=environment_id, references=[reference]
                )
        if not found or found.get(reference) != own:
            raise NotFound("application", reference)
    request.application = own  # type: ignore[attr-defined]
