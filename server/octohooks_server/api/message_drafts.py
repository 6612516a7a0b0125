"""From a request to a checked draft of a message."""

from octohooks.v1.application_pb2 import Application
from octohooks.v1.message_service_pb2 import CreateMessageRequest

from octohooks_server.api.application_servicer import check_new_application
from octohooks_server.api.caller import current_caller, environment_of_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.event_type_rules import EventTypeRules
from octohooks_server.api.idempotency import keyed_request
from octohooks_server.errors import OctohooksError
from octohooks_server.rules.ids import APPLICATION, MESSAGE
from octohooks_server.rules.names import MAX_MESSAGE_CHANNELS
from octohooks_server.store import idempotency
from octohooks_server.store.acceptance import Draft
from octohooks_server.store.idempotency import KeyedRequest

_OUTPUT_ONLY = ("id", "application", "payload_expire_time", "payload_deleted", "create_time")


class MessageDrafts:
    """Checks messages and makes them ready to be stored."""

    def __init__(self, dependencies: Dependencies, event_type_rules: EventTypeRules) -> None:
        self._database = dependencies.database
        self._ids = dependencies.ids
        self._clock = dependencies.clock
        self._event_type_rules = event_type_rules

    async def draft(self, request: CreateMessageRequest, *, idempotency_key: str | None) -> Draft:
        """The draft of a request, under the key if there is one; an error when it is refused."""
        checks = Checks()
        _check(checks, request)
        checks.done()
        environment_id = environment_of_caller()
        keyed = keyed_request(current_caller(), request, idempotency_key)
        try:
            await self._event_type_rules.check(environment_id, request.message, "message")
        except OctohooksError:
            # What was accepted under this key is answered again, whatever has changed since.
            if keyed is None or not await self._was_used(keyed):
                raise
        inline: Application | None = None
        if request.HasField("inline_application"):
            inline = request.inline_application
            inline.id = self._ids.new(APPLICATION)
        request.message.id = self._ids.new(MESSAGE)
        return Draft(
            environment_id=environment_id,
            application=request.application or request.inline_application.uid,
            message=request.message,
            inline_application=inline,
            keyed=keyed,
        )

    async def _was_used(self, keyed: KeyedRequest) -> bool:
        async with self._database.read() as conn:
            return await idempotency.is_used(conn, keyed, now=self._clock())


def _check(checks: Checks, request: CreateMessageRequest) -> None:
    message = request.message
    checks.output_only("message", message, _OUTPUT_ONLY)
    checks.uid("message.uid", message.uid)
    checks.event_type("message.event_type", message.event_type)
    checks.payload("message.payload", message.payload)
    checks.channels("message.channels", message.channels, most=MAX_MESSAGE_CHANNELS)
    checks.metadata("message.tags", message.tags)
    checks.retention("message.payload_retention", message, "payload_retention")
    if not request.HasField("inline_application"):
        checks.reference("application", request.application)
        return
    inline = request.inline_application
    if checks.required("inline_application.uid", inline.uid):
        check_new_application(checks, "inline_application", inline)
    if request.application and request.application != inline.uid:
        checks.problem("application", "It names another application than inline_application.uid.")
