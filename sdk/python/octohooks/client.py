"""The two clients: `Octohooks`, whose calls block, and `AsyncOctohooks`, whose calls are awaited.

Both have the same resources with the same methods. What is a list, a watch or a stream of
acknowledgements is an iterator with the one and an asynchronous iterator with the other.
"""

import abc
import copy
from collections.abc import Sequence
from datetime import timedelta
from typing import Generic, Self

import grpc

from octohooks.backoff import Backoff
from octohooks.channel import Certificates, ChannelOption, Connection, connection
from octohooks.resource import TransportT
from octohooks.resources.api_key import ApiKeyResource
from octohooks.resources.application import ApplicationResource
from octohooks.resources.attempt import AttemptResource
from octohooks.resources.audit import AuditResource
from octohooks.resources.delivery import DeliveryResource
from octohooks.resources.endpoint import EndpointResource
from octohooks.resources.environment import EnvironmentResource
from octohooks.resources.event_type import EventTypeResource
from octohooks.resources.job import JobResource
from octohooks.resources.message import MessageResource
from octohooks.resources.operational_webhook import OperationalWebhookResource
from octohooks.transport import AsyncTransport, Transport
from octohooks.webhook import Webhook as _Webhook


class _Client(abc.ABC, Generic[TransportT]):
    Webhook = _Webhook

    environment: EnvironmentResource[TransportT]
    api_key: ApiKeyResource[TransportT]
    application: ApplicationResource[TransportT]
    event_type: EventTypeResource[TransportT]
    endpoint: EndpointResource[TransportT]
    message: MessageResource[TransportT]
    delivery: DeliveryResource[TransportT]
    attempt: AttemptResource[TransportT]
    operational_webhook: OperationalWebhookResource[TransportT]
    job: JobResource[TransportT]
    audit: AuditResource[TransportT]

    def __init__(
        self,
        api_key: str | None = None,
        *,
        target: str | None = None,
        tls: bool | grpc.ChannelCredentials | None = None,
        timeout: float | timedelta | None = 10.0,
        reconnect: Backoff | None = None,
        channel_options: Sequence[ChannelOption] = (),
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
    ) -> None:
        """Connects with the first call.

        Args:
            api_key: a key of an environment, or the operator's; unless given, `OCTOHOOKS_API_KEY`.
            target: where the server is, as a gRPC target such as `octohooks.example.com:443`;
                unless given, `OCTOHOOKS_TARGET`, and then `localhost:50051`.
            tls: whether to encrypt, or gRPC's own credentials to do it with. Unless given,
                everything but loopback and unix sockets is, and with certificates these too.
            timeout: how long a call may take, its retries included, in seconds; None for no limit.
                Iterations over a watch or over acknowledgements have none.
            reconnect: the waits before a watch or a stream of messages connects again.
            channel_options: gRPC channel arguments, which replace those of the same names.
            root_certificates: the authorities to trust, in PEM; unless given, those in the file
                that `OCTOHOOKS_TLS_CA` names, and then those that gRPC comes with.
            client_certificate: what this client shows of itself where the server wants mutual TLS,
                in PEM; unless given, from the file `OCTOHOOKS_TLS_CLIENT_CERTIFICATE`.
            client_key: its private key, in PEM; unless given, from the file
                `OCTOHOOKS_TLS_CLIENT_KEY`.

        Raises:
            ValueError: no API key is given, or it holds what no key holds; or certificates cannot
                be read, or `tls` says not to use them.
        """
        self._use(
            self._transport_over(
                connection(
                    api_key,
                    target,
                    tls,
                    channel_options,
                    Certificates(root_certificates, client_certificate, client_key),
                ),
                _seconds(timeout),
                reconnect or Backoff(),
            )
        )

    @staticmethod
    @abc.abstractmethod
    def _transport_over(
        connection: Connection, timeout: float | None, reconnect: Backoff
    ) -> TransportT: ...

    def _use(self, transport: TransportT) -> None:
        self._transport: TransportT = transport
        self.environment = EnvironmentResource(transport)
        self.api_key = ApiKeyResource(transport)
        self.application = ApplicationResource(transport)
        self.event_type = EventTypeResource(transport)
        self.endpoint = EndpointResource(transport)
        self.message = MessageResource(transport)
        self.delivery = DeliveryResource(transport)
        self.attempt = AttemptResource(transport)
        self.operational_webhook = OperationalWebhookResource(transport)
        self.job = JobResource(transport)
        self.audit = AuditResource(transport)

    def with_timeout(self, timeout: float | timedelta | None) -> Self:
        """This client with another time limit for each call, over the same connection."""
        client = copy.copy(self)
        client._use(self._transport.with_timeout(_seconds(timeout)))
        return client


class Octohooks(_Client[Transport]):
    """The blocking client. Threads may share one."""

    @staticmethod
    def _transport_over(
        connection: Connection, timeout: float | None, reconnect: Backoff
    ) -> Transport:
        return Transport(connection, timeout, reconnect)

    def close(self) -> None:
        """Ends the connection, with every watch and call that is under way."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncOctohooks(_Client[AsyncTransport]):
    """The asyncio client. It belongs to the event loop of its first call."""

    @staticmethod
    def _transport_over(
        connection: Connection, timeout: float | None, reconnect: Backoff
    ) -> AsyncTransport:
        return AsyncTransport(connection, timeout, reconnect)

    async def close(self) -> None:
        """Ends the connection, with every watch and call that is under way."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def _seconds(timeout: float | timedelta | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
