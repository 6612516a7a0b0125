"""Operational webhooks."""

import builtins
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import operational_webhook_service_pb2 as pb
from octohooks.v1.endpoint_pb2 import EndpointSecret
from octohooks.v1.operational_webhook_pb2 import OperationalWebhook
from octohooks.values import OperationalWebhookChanges, OperationalWebhookValues


class OperationalWebhookResource(Resource[TransportT]):
    """The environment's own endpoints, which are told what happens to those of its customers.
    `operational_webhook` is an ID or a UID."""

    @unary
    def create(
        self,
        *,
        url: str,
        secret: str | None = None,
        idempotency_key: str | None = None,
        **values: Unpack[OperationalWebhookValues],
    ) -> Call[OperationalWebhook]:
        """Makes an operational webhook. Without a `secret` one is generated, which `secret`
        answers.

        Raises:
            AlreadyExists: another one has this UID.
        """
        return Call(
            pb.CreateOperationalWebhookRequest(
                operational_webhook=filled(OperationalWebhook(url=url), values), secret=secret or ""
            ),
            pb.CreateOperationalWebhookResponse,
            lambda response: response.operational_webhook,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def get(self, operational_webhook: str) -> Call[OperationalWebhook]:
        """Answers one operational webhook.

        Raises:
            NotFound: there is none with this ID or UID.
        """
        return Call(
            pb.GetOperationalWebhookRequest(operational_webhook=operational_webhook),
            pb.GetOperationalWebhookResponse,
            lambda response: response.operational_webhook,
        )

    @listing
    def list(self, *, page_size: int = 50) -> Listing[OperationalWebhook]:
        """Lists the operational webhooks, oldest first, asking for `page_size` at a time (at most
        250)."""
        return Listing(
            pb.ListOperationalWebhooksRequest(page_size=page_size),
            pb.ListOperationalWebhooksResponse,
            lambda response: response.operational_webhooks,
        )

    @unary
    def update(
        self, operational_webhook: str, **changes: Unpack[OperationalWebhookChanges]
    ) -> Call[OperationalWebhook]:
        """Changes the fields that are given, and no others; `""`, `[]` and `None` clear one.

        Raises:
            NotFound: there is none with this ID or UID.
        """
        return Call(
            pb.UpdateOperationalWebhookRequest(
                operational_webhook=operational_webhook,
                values=filled(OperationalWebhook(), changes),
                update_mask=FieldMask(paths=changes),
            ),
            pb.UpdateOperationalWebhookResponse,
            lambda response: response.operational_webhook,
        )

    @unary
    def delete(self, operational_webhook: str) -> Call[None]:
        """Deletes an operational webhook; what is pending for it is cancelled."""
        return Call(
            pb.DeleteOperationalWebhookRequest(operational_webhook=operational_webhook),
            pb.DeleteOperationalWebhookResponse,
            lambda response: None,
        )

    @unary
    def secret(self, operational_webhook: str) -> Call[builtins.list[EndpointSecret]]:
        """Answers the secrets that sign at this moment, newest first."""
        return Call(
            pb.GetOperationalWebhookSecretRequest(operational_webhook=operational_webhook),
            pb.GetOperationalWebhookSecretResponse,
            lambda response: [*response.secrets],
        )
