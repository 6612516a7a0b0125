"""API keys."""

from typing import Unpack

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import duration, filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.v1 import api_key_service_pb2 as pb
from octohooks.v1.api_key_pb2 import ApiKey
from octohooks.values import ApiKeyValues, DurationValue


class ApiKeyResource(Resource[TransportT]):
    """The keys that open an environment, with the operator's key or with a key of that
    environment."""

    @unary
    def create(
        self,
        *,
        environment: str = "",
        idempotency_key: str | None = None,
        **values: Unpack[ApiKeyValues],
    ) -> Call[pb.CreateApiKeyResponse]:
        """Makes a key. The answer's `key` is the key itself, which is never shown again.

        `environment` is an ID, and needed with the operator's key only.
        """
        return Call(
            pb.CreateApiKeyRequest(environment=environment, api_key=filled(ApiKey(), values)),
            pb.CreateApiKeyResponse,
            lambda response: response,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @listing
    def list(self, *, environment: str = "", page_size: int = 50) -> Listing[ApiKey]:
        """Lists the keys that have not been revoked, newest first, `page_size` at a time."""
        return Listing(
            pb.ListApiKeysRequest(environment=environment, page_size=page_size),
            pb.ListApiKeysResponse,
            lambda response: response.api_keys,
        )

    @unary
    def rotate(
        self,
        api_key: str,
        *,
        overlap: DurationValue | None = None,
        idempotency_key: str | None = None,
    ) -> Call[pb.RotateApiKeyResponse]:
        """Replaces the key with this ID by a new one, which is the answer's `key` and is never
        shown again. The old one stops at once, or after the `overlap` (at most 7 days)."""
        return Call(
            pb.RotateApiKeyRequest(
                api_key=api_key, overlap=None if overlap is None else duration(overlap)
            ),
            pb.RotateApiKeyResponse,
            lambda response: response,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def revoke(self, api_key: str) -> Call[None]:
        """Ends the key with this ID at once."""
        return Call(
            pb.RevokeApiKeyRequest(api_key=api_key),
            pb.RevokeApiKeyResponse,
            lambda response: None,
        )
