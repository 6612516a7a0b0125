"""Endpoints."""

import builtins
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import endpoint_service_pb2 as pb
from octohooks.v1.endpoint_pb2 import Endpoint, EndpointSecret
from octohooks.v1.job_pb2 import Job
from octohooks.v1.message_pb2 import Message
from octohooks.values import DurationValue, EndpointChanges, EndpointValues, TimeValue


class EndpointResource(Resource[TransportT]):
    """The URLs that an application's messages go to. `application` and `endpoint` are each an ID or
    a UID."""

    @unary
    def create(
        self,
        application: str,
        *,
        url: str,
        secret: str | None = None,
        idempotency_key: str | None = None,
        **values: Unpack[EndpointValues],
    ) -> Call[Endpoint]:
        """Makes an endpoint. Without a `secret`, one is generated, which `secret` answers.

        Raises:
            AlreadyExists: another one of the application has this UID.
        """
        return Call(
            pb.CreateEndpointRequest(
                application=application,
                endpoint=filled(Endpoint(url=url), values),
                secret=secret or "",
            ),
            pb.CreateEndpointResponse,
            lambda response: response.endpoint,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def get(self, application: str, endpoint: str) -> Call[Endpoint]:
        """Answers one endpoint.

        Raises:
            NotFound: the application has none with this ID or UID.
        """
        return Call(
            pb.GetEndpointRequest(application=application, endpoint=endpoint),
            pb.GetEndpointResponse,
            lambda response: response.endpoint,
        )

    @listing
    def list(self, application: str, *, page_size: int = 50) -> Listing[Endpoint]:
        """Lists the endpoints of an application, oldest first, asking for `page_size` at a time (at
        most 250)."""
        return Listing(
            pb.ListEndpointsRequest(application=application, page_size=page_size),
            pb.ListEndpointsResponse,
            lambda response: response.endpoints,
        )

    @unary
    def update(
        self,
        application: str,
        endpoint: str,
        *,
        allow_missing: bool = False,
        **changes: Unpack[EndpointChanges],
    ) -> Call[Endpoint]:
        """Changes the fields that are given, and no others; `""`, `[]` and `None` clear one. With
        `allow_missing` and a `url`, makes the endpoint when there is none with this UID.

        Raises:
            NotFound: there is none with this ID, or with this UID and `allow_missing` is false.
        """
        return Call(
            pb.UpdateEndpointRequest(
                application=application,
                endpoint=endpoint,
                values=filled(Endpoint(), changes),
                update_mask=FieldMask(paths=changes),
                allow_missing=allow_missing,
            ),
            pb.UpdateEndpointResponse,
            lambda response: response.endpoint,
        )

    @unary
    def delete(self, application: str, endpoint: str) -> Call[None]:
        """Deletes an endpoint; what is pending for it is cancelled."""
        return Call(
            pb.DeleteEndpointRequest(application=application, endpoint=endpoint),
            pb.DeleteEndpointResponse,
            lambda response: None,
        )

    @unary
    def secret(self, application: str, endpoint: str) -> Call[builtins.list[EndpointSecret]]:
        """Answers the secrets that sign at this moment, newest first."""
        return Call(
            pb.GetEndpointSecretRequest(application=application, endpoint=endpoint),
            pb.GetEndpointSecretResponse,
            lambda response: [*response.secrets],
        )

    @unary
    def rotate_secret(
        self,
        application: str,
        endpoint: str,
        *,
        secret: str | None = None,
        overlap: DurationValue | None = None,
        idempotency_key: str | None = None,
    ) -> Call[builtins.list[EndpointSecret]]:
        """Replaces the secret by this one, or by a generated one, and answers the secrets that sign
        now, newest first. The old one goes on signing for the `overlap`: 24 hours unless told, at
        most 7 days."""
        request = pb.RotateEndpointSecretRequest(application=application, endpoint=endpoint)
        return Call(
            filled(request, {"secret": secret, "overlap": overlap}),
            pb.RotateEndpointSecretResponse,
            lambda response: [*response.secrets],
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def stats(
        self,
        application: str,
        endpoint: str,
        *,
        after: TimeValue | None = None,
        before: TimeValue | None = None,
    ) -> Call[pb.GetEndpointStatsResponse]:
        """Counts what happened at an endpoint, from `after` (24 hours ago unless told) up to
        `before` (now unless told)."""
        request = pb.GetEndpointStatsRequest(application=application, endpoint=endpoint)
        return Call(
            filled(request, {"after": after, "before": before}),
            pb.GetEndpointStatsResponse,
            lambda response: response,
        )

    @unary
    def recover(
        self,
        application: str,
        endpoint: str,
        *,
        since: TimeValue,
        until: TimeValue | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Job]:
        """Sends the failed deliveries of an endpoint again, of messages accepted from `since` up to
        `until` (now unless told). The job goes on in the background; `job.get` tells how far it is.

        Raises:
            FailedPrecondition: the endpoint is disabled.
        """
        request = pb.RecoverEndpointRequest(application=application, endpoint=endpoint)
        return Call(
            filled(request, {"since": since, "until": until}),
            pb.RecoverEndpointResponse,
            lambda response: response.job,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def replay(
        self,
        application: str,
        endpoint: str,
        *,
        since: TimeValue,
        until: TimeValue | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Job]:
        """Sends the messages that an endpoint never got, for example since it is new, of those
        accepted from `since` up to `until` (now unless told). The job goes on in the background;
        `job.get` tells how far it is.

        Raises:
            FailedPrecondition: the endpoint is disabled.
        """
        request = pb.ReplayEndpointRequest(application=application, endpoint=endpoint)
        return Call(
            filled(request, {"since": since, "until": until}),
            pb.ReplayEndpointResponse,
            lambda response: response.job,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def send_example(
        self,
        application: str,
        endpoint: str,
        *,
        event_type: str,
        idempotency_key: str | None = None,
    ) -> Call[Message]:
        """Sends the first example of an event type to this endpoint alone, whatever its filters.

        Raises:
            FailedPrecondition: the event type has no example, or the endpoint is disabled.
        """
        return Call(
            pb.SendExampleRequest(
                application=application, endpoint=endpoint, event_type=event_type
            ),
            pb.SendExampleResponse,
            lambda response: response.message,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )
