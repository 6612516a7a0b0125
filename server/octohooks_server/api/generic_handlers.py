"""Where the services of generated code are added, at the same cost for each call."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GenericHandlers:
    """Takes what generated code adds to a server, and has the server look for it by name.

    Of methods that are registered with it, grpc.aio waits for the next call of each one, and does
    so anew after every call: fifty of them cost as much as storing the message.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Generated code offers each service in two ways; one of them is enough."""

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        """Serves these methods of a service; what generated code calls."""
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service_name, dict(handlers))]
        )
