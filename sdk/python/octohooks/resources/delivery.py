"""Deliveries."""

from typing import Unpack

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import attempt_service_pb2 as pb
from octohooks.v1.delivery_pb2 import Delivery
from octohooks.values import DeliveryFilters


class DeliveryResource(Resource[TransportT]):
    """Messages on their way to endpoints, each identified by the two together.

    `application`, `message` and `endpoint` are each an ID or a UID. The application is needed where
    one of the others is a UID.
    """

    @listing
    def list(self, *, page_size: int = 50, **filters: Unpack[DeliveryFilters]) -> Listing[Delivery]:
        """Lists deliveries, newest message first, asking for `page_size` (at most 250) at a
        time."""
        return Listing(
            filled(pb.ListDeliveriesRequest(page_size=page_size), filters),
            pb.ListDeliveriesResponse,
            lambda response: response.deliveries,
        )

    @unary
    def get(self, *, message: str, endpoint: str, application: str = "") -> Call[Delivery]:
        """Answers one delivery.

        Raises:
            NotFound: the message was not sent to this endpoint.
        """
        return Call(
            pb.GetDeliveryRequest(application=application, message=message, endpoint=endpoint),
            pb.GetDeliveryResponse,
            lambda response: response.delivery,
        )

    @unary
    def resend(
        self,
        *,
        message: str,
        endpoint: str,
        application: str = "",
        idempotency_key: str | None = None,
    ) -> Call[Delivery]:
        """Makes one attempt at once, whatever the delivery's schedule says.

        Raises:
            FailedPrecondition: the endpoint is disabled, or the payload is deleted.
        """
        return Call(
            pb.ResendDeliveryRequest(application=application, message=message, endpoint=endpoint),
            pb.ResendDeliveryResponse,
            lambda response: response.delivery,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )
