"""The audit log."""

from collections.abc import Sequence

from octohooks.calls import Listing
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing
from octohooks.v1 import audit_service_pb2 as pb
from octohooks.v1.audit_pb2 import AuditEvent
from octohooks.values import TimeValue


class AuditResource(Resource[TransportT]):
    """Who changed what, with the operator's key in all environments, or with a key of role `full`
    in its own."""

    @listing
    def list(
        self,
        *,
        environment: str | None = None,
        actor: str | None = None,
        methods: Sequence[str] = (),
        resource: str | None = None,
        after: TimeValue | None = None,
        before: TimeValue | None = None,
        page_size: int = 50,
    ) -> Listing[AuditEvent]:
        """Lists what happened, newest first, `page_size` at a time.

        `actor` is the ID of a key, or `operator`; `methods` are names of RPCs, such as
        `UpdateEndpoint`; `resource` is the ID of what an event is about, or of its application.
        """
        return Listing(
            filled(
                pb.ListAuditEventsRequest(),
                {
                    "environment": environment,
                    "actor": actor,
                    "methods": methods,
                    "resource": resource,
                    "after": after,
                    "before": before,
                    "page_size": page_size,
                },
            ),
            pb.ListAuditEventsResponse,
            lambda response: response.audit_events,
        )
