"""Applications."""

from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import application_service_pb2 as pb
from octohooks.v1.application_pb2 import Application
from octohooks.values import ApplicationValues


class ApplicationResource(Resource[TransportT]):
    """The consumers of webhooks, usually one per customer. `application` is an ID or a UID."""

    @unary
    def create(
        self, *, idempotency_key: str | None = None, **values: Unpack[ApplicationValues]
    ) -> Call[Application]:
        """Makes an application.

        Raises:
            AlreadyExists: another one has this UID.
        """
        return Call(
            pb.CreateApplicationRequest(application=filled(Application(), values)),
            pb.CreateApplicationResponse,
            lambda response: response.application,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def get(self, application: str) -> Call[Application]:
        """Answers one application.

        Raises:
            NotFound: there is none with this ID or UID.
        """
        return Call(
            pb.GetApplicationRequest(application=application),
            pb.GetApplicationResponse,
            lambda response: response.application,
        )

    @listing
    def list(self, *, page_size: int = 50) -> Listing[Application]:
        """Lists the applications, oldest first, asking for `page_size` at a time (at most 250)."""
        return Listing(
            pb.ListApplicationsRequest(page_size=page_size),
            pb.ListApplicationsResponse,
            lambda response: response.applications,
        )

    @unary
    def update(
        self, application: str, *, allow_missing: bool = True, **changes: Unpack[ApplicationValues]
    ) -> Call[Application]:
        """Changes the fields that are given, and no others; `""` and `None` clear one. Makes the
        application when there is none with this UID, unless `allow_missing` is false.

        Raises:
            NotFound: there is none with this ID, or with this UID and `allow_missing` is false.
        """
        return Call(
            pb.UpdateApplicationRequest(
                application=application,
                values=filled(Application(), changes),
                update_mask=FieldMask(paths=changes),
                allow_missing=allow_missing,
            ),
            pb.UpdateApplicationResponse,
            lambda response: response.application,
        )

    @unary
    def delete(self, application: str) -> Call[None]:
        """Deletes an application with its endpoints; what is pending for it is cancelled."""
        return Call(
            pb.DeleteApplicationRequest(application=application),
            pb.DeleteApplicationResponse,
            lambda response: None,
        )
