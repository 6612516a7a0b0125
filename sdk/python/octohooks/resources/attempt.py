"""Attempts."""

from typing import Unpack, overload

from octohooks.calls import Call, Listing
from octohooks.convert import filled
from octohooks.resource import Resource, TransportT, listing, unary
from octohooks.transport import AsyncTransport, Transport
from octohooks.v1 import attempt_service_pb2 as pb
from octohooks.v1.attempt_pb2 import Attempt
from octohooks.values import AttemptFilters, WatchOptions
from octohooks.watch import AsyncWatch, Watch


class AttemptResource(Resource[TransportT]):
    """The HTTP requests that were made for deliveries, and what came of them."""

    @listing
    def list(self, *, page_size: int = 50, **filters: Unpack[AttemptFilters]) -> Listing[Attempt]:
        """Lists attempts, newest first, without response headers and bodies, asking for `page_size`
        at a time (at most 250).

        `application`, `message` and `endpoint` are each an ID or a UID. The application is needed
        where one of the others is a UID.
        """
        return Listing(
            filled(pb.ListAttemptsRequest(page_size=page_size), filters),
            pb.ListAttemptsResponse,
            lambda response: response.attempts,
        )

    @unary
    def get(self, attempt: str) -> Call[Attempt]:
        """Answers one attempt with its response headers and body.

        Raises:
            NotFound: there is none with this ID.
        """
        return Call(
            pb.GetAttemptRequest(attempt=attempt),
            pb.GetAttemptResponse,
            lambda response: response.attempt,
        )

    @overload
    def watch(self: "AttemptResource[Transport]", **options: Unpack[WatchOptions]) -> Watch: ...
    @overload
    def watch(
        self: "AttemptResource[AsyncTransport]", **options: Unpack[WatchOptions]
    ) -> AsyncWatch: ...
    def watch(self, **options: Unpack[WatchOptions]) -> Watch | AsyncWatch:
        """Shows every attempt as it is recorded, and every delivery that is cancelled, from now on
        unless `since` or a `resume_token` says otherwise. The iterator never ends by itself.

        `application`, `message` and `endpoint` are each an ID or a UID. The application is needed
        where one of the others is a UID.

        Raises:
            OutOfRange: on iteration, `since` or `resume_token` is older than what the server keeps.
        """
        if options.get("since") is not None and options.get("resume_token"):
            raise ValueError("since and resume_token exclude each other")
        if not options.get("resume_token"):
            options.pop("resume_token", None)
        return self._transport.watch(filled(pb.WatchAttemptsRequest(), options))
