"""Calls as values: what is to be asked, and how the answer is read. Nothing here does I/O, so that
the blocking and the asyncio client make the very same calls."""

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from octohooks.v1 import (
    api_key_service_pb2,
    application_service_pb2,
    attempt_service_pb2,
    audit_service_pb2,
    endpoint_service_pb2,
    environment_service_pb2,
    event_type_service_pb2,
    job_service_pb2,
    message_service_pb2,
    operational_webhook_service_pb2,
)

T = TypeVar("T")
Response = TypeVar("Response", bound=Message)

SERVICES = tuple(
    service
    for module in (
        api_key_service_pb2,
        application_service_pb2,
        attempt_service_pb2,
        audit_service_pb2,
        endpoint_service_pb2,
        environment_service_pb2,
        event_type_service_pb2,
        job_service_pb2,
        message_service_pb2,
        operational_webhook_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""The descriptor of each service of the API."""

_PATHS = {
    method.input_type.full_name: f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
}

# What gRPC lets through as the value of a metadata entry, and the API's limit on its length.
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,256}")


def path_of(request_type: type[Message]) -> str:
    """The path of the RPC that takes this request: each request type belongs to one RPC alone."""
    return _PATHS[request_type.DESCRIPTOR.full_name]


def idempotency_key_or_new(key: str | None) -> str:
    """The key that the caller chose, or a new random one.

    Raises:
        ValueError: the key is not 1 to 256 visible ASCII characters.
    """
    if key is None:
        return str(uuid.uuid4())
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 256 visible ASCII characters")
    return key


class Call(Generic[T]):
    """One call of a unary RPC, whose answer is read as a `T`."""

    def __init__(
        self,
        request: Message,
        response_type: type[Response],
        read: Callable[[Response], T],
        *,
        idempotency_key: str | None = None,
    ) -> None:
        self.request = request
        self.response_type: type[Message] = response_type
        self.read: Callable[[Any], T] = read
        self.idempotency_key = idempotency_key


class _ListResponse(Protocol):
    next_page_token: str


PageResponse = TypeVar("PageResponse", bound=_ListResponse)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; the token is empty on the last one."""

    items: Iterable[T]
    next_page_token: str


class Listing(Generic[T]):
    """The pages of a list of `T`, each a call."""

    def __init__(
        self,
        request: Message,
        response_type: type[PageResponse],
        items: Callable[[PageResponse], Iterable[T]],
    ) -> None:
        self._request = request
        self._response_type: Any = response_type
        self._items: Callable[[Any], Iterable[T]] = items

    def page(self, page_token: str) -> Call[Page[T]]:
        """The call for the page with this token; the first page's is empty."""
        request = type(self._request)()
        request.CopyFrom(self._request)
        if page_token:
            request.page_token = page_token  # type: ignore[attr-defined]
        return Call(request, self._response_type, self._read)

    def _read(self, response: Any) -> Page[T]:
        return Page(self._items(response), response.next_page_token)
