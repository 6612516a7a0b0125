"""Where the services of generated code are added, at the same cost for each call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class GenericHandlers(grpc.GenericRpcHandler):
    """Takes what generated code adds to a server, and has the server look for it by name.

    Of methods that are registered with it, grpc.aio waits for the next call of each one, and does
    so anew after every call: fifty of them took a tenth of what a message costs.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._by_name: dict[str, Handler] = {}
        server.add_generic_rpc_handlers([self])

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Generated code offers each service in two ways; one of them is enough."""

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, Handler]
    ) -> None:
        """Serves these methods of a service; what generated code calls."""
        for name, handler in handlers.items():
            self._by_name[f"/{service_name}/{name}"] = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """See `grpc.GenericRpcHandler`."""
        return self._by_name.get(handler_call_details.method)
