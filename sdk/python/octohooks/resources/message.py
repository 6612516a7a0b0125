"""Messages."""

import builtins
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Unpack, overload

from octohooks.calls import Call, Listing, idempotency_key_or_new
from octohooks.convert import filled, json_text
from octohooks.errors import OctohooksError
from octohooks.outbox import Acknowledgement, message_or_error
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.transport import AsyncTransport, Transport
from octohooks.v1 import message_service_pb2 as pb
from octohooks.v1.application_pb2 import Application
from octohooks.v1.message_pb2 import Message
from octohooks.values import (
    ApplicationValues,
    JsonValue,
    MessageFilters,
    MessageValues,
    NewMessage,
    PublishedMessage,
)

MessageOrError = Message | OctohooksError


class MessageResource(Resource[TransportT]):
    """The webhooks to send. `application` and `message` are each an ID or a UID."""

    @unary
    def create(
        self,
        application: str,
        *,
        event_type: str,
        payload: JsonValue,
        inline_application: ApplicationValues | Application | None = None,
        idempotency_key: str | None = None,
        **values: Unpack[MessageValues],
    ) -> Call[Message]:
        """Sends a message, and answers it without its payload once it is on disk: from then on it
        is attempted until it succeeds or its schedule ends, whatever crashes.

        A `payload` that is a mapping or a sequence is written as compact JSON; `str` and `bytes`
        are JSON text and are posted as they are. `inline_application` makes the application when
        there is none with this UID, and leaves one that exists as it is.

        Raises:
            NotFound: there is no such application, and none is made inline.
            ResourceExhausted: the payload is larger than 350 KiB.
        """
        return Call(
            _create_request(application, event_type, payload, inline_application, **values),
            pb.CreateMessageResponse,
            lambda response: response.message,
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @unary
    def create_batch(
        self, messages: Iterable[NewMessage], *, idempotency_key: str | None = None
    ) -> Call[builtins.list[MessageOrError]]:
        """Sends 1 to 100 messages and answers the result of each in the same order: the message as
        it was stored, or the error for which it alone was refused."""
        return Call(
            pb.BatchCreateMessagesRequest(
                requests=[_create_request(**message) for message in messages]
            ),
            pb.BatchCreateMessagesResponse,
            lambda response: [message_or_error(result) for result in response.results],
            idempotency_key=idempotency_key_or_new(idempotency_key),
        )

    @overload
    def publish(
        self: "MessageResource[Transport]",
        messages: Iterable[PublishedMessage],
        *,
        window: int = 100,
    ) -> Iterator[Acknowledgement]: ...
    @overload
    def publish(
        self: "MessageResource[AsyncTransport]",
        messages: Iterable[PublishedMessage] | AsyncIterable[PublishedMessage],
        *,
        window: int = 100,
    ) -> AsyncIterator[Acknowledgement]: ...
    def publish(self, messages: Any, *, window: int = 100) -> Any:
        """Sends messages as they come, over one stream, and acknowledges each in the same order
        once it is on disk or refused. At most `window` messages are under way, so that the iterable
        is not read faster than the server stores. Nothing is sent until the iteration begins.

        Each message carries an idempotency key, its own or a new one. When the connection is cut,
        what is not acknowledged is sent again with the same keys, so nothing is lost and nothing is
        made twice. The iterable is read in a thread of its own; with `AsyncOctohooks`, in a task.
        An exception that it raises comes out here, after the acknowledgements of what it gave.
        """
        if window < 1:
            raise ValueError("window must be at least 1")
        return self._transport.publish(messages, _publish_request, window)

    @unary
    def get(self, application: str, message: str) -> Call[Message]:
        """Answers one message with its payload, unless that has been deleted.

        Raises:
            NotFound: the application has none with this ID or UID.
        """
        return Call(
            pb.GetMessageRequest(application=application, message=message),
            pb.GetMessageResponse,
            lambda response: response.message,
        )

    @listing
    def list(
        self, application: str, *, page_size: int = 50, **filters: Unpack[MessageFilters]
    ) -> Listing[Message]:
        """Lists the messages of an application, newest first, without payloads, asking for
        `page_size` at a time (at most 250)."""
        request = pb.ListMessagesRequest(application=application, page_size=page_size)
        return Listing(
            filled(request, filters), pb.ListMessagesResponse, lambda response: response.messages
        )

    @unary
    def delete_payload(self, application: str, message: str) -> Call[Message]:
        """Deletes a message's payload and the response bodies of its attempts ahead of time; what
        is pending of it is cancelled. Doing it twice is not an error."""
        return Call(
            pb.DeleteMessagePayloadRequest(application=application, message=message),
            pb.DeleteMessagePayloadResponse,
            lambda response: response.message,
        )

    @listing
    def explain(
        self, application: str, message: str, *, page_size: int = 50
    ) -> Listing[pb.EndpointExplanation]:
        """Tells for each endpoint of the application, oldest first, whether it got the message and
        which rule decided."""
        return Listing(
            pb.ExplainMessageRequest(application=application, message=message, page_size=page_size),
            pb.ExplainMessageResponse,
            lambda response: response.explanations,
        )


def _create_request(
    application: str,
    event_type: str,
    payload: JsonValue,
    inline_application: ApplicationValues | Application | None = None,
    **values: Unpack[MessageValues],
) -> pb.CreateMessageRequest:
    message = Message(event_type=event_type, payload=json_text(payload))
    request = pb.CreateMessageRequest(application=application, message=filled(message, values))
    if isinstance(inline_application, Application):
        request.inline_application.CopyFrom(inline_application)
    elif inline_application is not None:
        filled(request.inline_application, inline_application)
    if inline_application is not None and not request.inline_application.uid:
        request.inline_application.uid = application
    return request


def _publish_request(message: PublishedMessage) -> pb.PublishMessagesRequest:
    arguments: Any = {**message}
    key = idempotency_key_or_new(arguments.pop("idempotency_key", None))
    return pb.PublishMessagesRequest(message=_create_request(**arguments), idempotency_key=key)
