"""Environments."""

from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import environment_service_pb2 as pb
from octohooks.v1.environment_pb2 import Environment
from octohooks.values import EnvironmentChanges, EnvironmentSettings


class EnvironmentResource(Resource[TransportT]):
    """The units of isolation. Every method needs the operator's key."""

    @unary
    def create(
        self,
        name: str,
        *,
        idempotency_key: str | None = None,
        **settings: Unpack[EnvironmentSettings],
    ) -> Call[Environment]:
        """Makes an environment. It has no API key yet: `api_key.create` makes one."""
        return Call(
            pb.CreateEnvironmentRequest(environment=filled(Environment(name=name), settings)),
            pb.CreateEnvironmentResponse,
            lambda response: response.environment,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def get(self, environment: str) -> Call[Environment]:
        """Answers one environment.

        Raises:
            NotFound: there is none with this ID.
        """
        return Call(
            pb.GetEnvironmentRequest(environment=environment),
            pb.GetEnvironmentResponse,
            lambda response: response.environment,
        )

    @listing
    def list(self, *, page_size: int = 50) -> Listing[Environment]:
        """Lists all environments, oldest first, asking for `page_size` at a time (at most 250)."""
        return Listing(
            pb.ListEnvironmentsRequest(page_size=page_size),
            pb.ListEnvironmentsResponse,
            lambda response: response.environments,
        )

    @unary
    def update(self, environment: str, **changes: Unpack[EnvironmentChanges]) -> Call[Environment]:
        """Changes the fields that are given, and no others. `None` brings back a default."""
        return Call(
            pb.UpdateEnvironmentRequest(
                environment=environment,
                values=filled(Environment(), changes),
                update_mask=FieldMask(paths=changes),
            ),
            pb.UpdateEnvironmentResponse,
            lambda response: response.environment,
        )

    @unary
    def delete(self, environment: str) -> Call[None]:
        """Deletes an environment with all that is in it. It cannot be undone."""
        return Call(
            pb.DeleteEnvironmentRequest(environment=environment),
            pb.DeleteEnvironmentResponse,
            lambda response: None,
        )
