"""Who makes the call that is being served."""

from contextvars import ContextVar
from dataclasses import dataclass

from octohooks_server.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid key."""

    # The environment that the key opens; None for the operator.
    environment_id: str | None
    # The ID of the key; None for the operator.
    api_key_id: str | None
    # What the caller sent as `idempotency-key`.
    idempotency_key: str | None = None

    @property
    def is_operator(self) -> bool:
        """Whether the call came with the operator's key."""
        return self.environment_id is None


_caller: ContextVar[Caller] = ContextVar("caller")


def set_caller(caller: Caller) -> None:
    """Makes `caller` the one whose call the running task serves."""
    _caller.set(caller)


def current_caller() -> Caller:
    """The caller of the call that the running task serves."""
    return _caller.get()


def environment_of_caller() -> str:
    """The ID of the environment that the call works in; PermissionDenied for the operator."""
    environment_id = _caller.get().environment_id
    if environment_id is None:
        raise PermissionDenied(
            "The call works inside one environment and needs one of its API keys.",
            reason="ENVIRONMENT_KEY_REQUIRED",
        )
    return environment_id


def require_operator() -> None:
    """PermissionDenied for everybody but the operator."""
    if not _caller.get().is_operator:
        raise PermissionDenied("The call needs the operator's key.")
