"""A gRPC server that answers what a test tells it to, and remembers what it was asked.

It is made of the generated servicer bases, so clients reach it by the same paths as the real one.
"""

import importlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status
from octohooks.calls import SERVICES

Handler = Callable[[Any, grpc.ServicerContext], Any]


@dataclass(frozen=True)
class Received:
    """One call as it arrived. The request of a stream of requests is None."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    time_remaining: float | None


class FakeServer:
    """Answers every RPC of the API, with an empty response unless `on` says otherwise."""

    def __init__(
        self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.received: list[Received] = []
        self._handlers: dict[str, Handler] = {}
        self._threads = ThreadPoolExecutor(max_workers=8)
        self._server = grpc.server(self._threads)
        for service in SERVICES:
            module = importlib.import_module(
                service.file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc"
            )
            base = getattr(module, f"{service.name}Servicer")
            methods = {method.name: self._method(method) for method in service.methods}
            servicer = type(f"Fake{service.name}", (base,), methods)()
            getattr(module, f"add_{service.name}Servicer_to_server")(servicer, self._server)
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self.target = address if address.startswith("unix:") else f"127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.stop(grace=None).wait()
        self._threads.shutdown(wait=False)

    def on(self, method: str, handler: Handler) -> None:
        """Answers an RPC with what `handler` makes of the request and the context."""
        self._handlers[method] = handler

    def requests(self, method: str) -> list[Any]:
        """The requests of this RPC so far, in their order."""
        return [received.request for received in self.received if received.method == method]

    def _method(self, method: MethodDescriptor) -> Callable[..., Any]:
        empty: Message = GetMessageClass(method.output_type)()

        def begin(request: Any, context: grpc.ServicerContext) -> Any:
            self.received.append(
                Received(
                    method=method.name,
                    request=None if method.client_streaming else request,
                    metadata=dict(context.invocation_metadata()),
                    time_remaining=context.time_remaining(),
                )
            )
            handler = self._handlers.get(method.name)
            return handler(request, context) if handler else empty

        def unary(_: object, request: Any, context: grpc.ServicerContext) -> Any:
            return begin(request, context)

        def stream(_: object, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from begin(request, context)

        return stream if method.server_streaming else unary


def refuse(
    context: grpc.ServicerContext, code: grpc.StatusCode, message: str = "no", *details: Message
) -> NoReturn:
    """Ends a call with an error, as the real server does."""
    status = Status(code=code.value[0], message=message, details=[packed(d) for d in details])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)
    raise AssertionError("abort raises")


def leave_waiting_at_a_stop(context: grpc.ServicerContext) -> NoReturn:
    """Ends a call as gRPC ends those that a stopping server has not begun yet, which no handler
    ever sees."""
    context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
    raise AssertionError("abort raises")


def packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def until_cancelled(context: grpc.ServicerContext) -> threading.Event:
    """An event that is set once the caller is gone or has hung up."""
    ended = threading.Event()
    if not context.add_callback(ended.set):
        ended.set()
    return ended
