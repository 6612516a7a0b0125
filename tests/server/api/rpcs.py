"""Every RPC of the contract, found in the descriptors, so that a new one cannot be forgotten."""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import octohooks.v1
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


@dataclass(frozen=True)
class Rpc:
    """One method of a service."""

    service: str
    method: str
    request_type: type[Message]
    response_type: type[Message]
    client_streams: bool
    server_streams: bool

    @property
    def path(self) -> str:
        """The name that gRPC calls it by."""
        return f"/{self.service}/{self.method}"


def _rpc(method: MethodDescriptor) -> Rpc:
    return Rpc(
        service=method.containing_service.full_name,
        method=method.name,
        request_type=GetMessageClass(method.input_type),
        response_type=GetMessageClass(method.output_type),
        client_streams=method.client_streaming,
        server_streams=method.server_streaming,
    )


def _find() -> Iterator[Rpc]:
    for module in pkgutil.iter_modules(octohooks.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"octohooks.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                yield from map(_rpc, service.methods)


RPCS = tuple(sorted(_find(), key=lambda rpc: rpc.path))
BY_METHOD = {rpc.method: rpc for rpc in RPCS}
BY_REQUEST_TYPE = {rpc.request_type: rpc for rpc in RPCS}
