"""The call that is being served, and who makes it."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import grpc
from octohooks.v1.api_key_pb2 import ApiKeyRole

from octohooks_server.errors import NotFound, PermissionDenied

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid key."""

    # The environment that the key opens; None for the operator.
    environment_id: str | None
    # The ID and the name of the key; None for the operator.
    api_key_id: str | None
    api_key_name: str | None = None
    # What the key may do; None for the operator.
    role: ApiKeyRole.ValueType | None = None
    # The only application that the key opens; None for all but keys of one application.
    application_id: str | None = None
    # The limits that were set for this key, 0 where none were.
    max_requests_per_second: int = 0
    max_watches: int = 0

    @property
    def is_operator(self) -> bool:
        """Whether the call came with the operator's key."""
        return self.environment_id is None


@dataclass(slots=True)
class Call:
    """A call from its beginning to its end; what belongs to one call hangs on this."""

    # Such as `EndpointService/UpdateEndpoint`.
    method: str
    # What finds the call in the log and the audit log: the caller's own, or one made for it.
    request_id: str
    # What the caller sent as `authorization` and as `idempotency-key`.
    authorization: str = field(repr=False)
    idempotency_key: str | None = field(repr=False)
    context: Context
    # Set once the key is known to be good.
    caller: Caller = field(init=False)

    @property
    def rpc(self) -> str:
        """The name of the RPC alone, such as `UpdateEndpoint`."""
        return self.method.rpartition("/")[2]

    @property
    def peer(self) -> str:
        """Where it comes from, as gRPC names it."""
        return self.context.peer()


_call: ContextVar[Call] = ContextVar("call")


def set_call(call: Call) -> None:
    """Makes `call` the one that the running task serves."""
    _call.set(call)


def current_call() -> Call:
    """The call that the running task serves."""
    return _call.get()


def request_id_of_call() -> str | None:
    """The request ID of the call that the running task serves; None where it serves none."""
    call = _call.get(None)
    return None if call is None else call.request_id


def current_caller() -> Caller:
    """The caller of the call that the running task serves."""
    return _call.get().caller


def environment_of_caller() -> str:
    """The ID of the environment that the call works in; PermissionDenied for the operator."""
    environment_id = _call.get().caller.environment_id
    if environment_id is None:
        raise PermissionDenied(
            "The call works inside one environment and needs one of its API keys.",
            reason="ENVIRONMENT_KEY_REQUIRED",
        )
    return environment_id


def require_own_application(application_id: str, kind: str, reference: str) -> None:
    """NotFound, as for what does not exist, when the key opens another application alone.

    For what is found without naming its application; where it is named, the gate looks.
    """
    own = _call.get().caller.application_id
    if own not in (None, application_id):
        raise NotFound(kind, reference)
