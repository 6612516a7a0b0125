"""What each key may do: the contract says which access an RPC takes, this table who has it."""

from collections.abc import Mapping

from google.protobuf.descriptor import MethodDescriptor
from octohooks.v1.access_pb2 import Access, access
from octohooks.v1.api_key_pb2 import ApiKeyRole

from octohooks_server.api.caller import Caller
from octohooks_server.errors import PermissionDenied

_OPERATOR = frozenset({Access.ACCESS_OPERATE, Access.ACCESS_ADMINISTER})
_ROLES: Mapping[ApiKeyRole.ValueType, frozenset[Access.ValueType]] = {
    ApiKeyRole.API_KEY_ROLE_FULL: frozenset(Access.values())
    - {Access.ACCESS_UNSPECIFIED, Access.ACCESS_OPERATE},
    ApiKeyRole.API_KEY_ROLE_SEND: frozenset({Access.ACCESS_SEND}),
    ApiKeyRole.API_KEY_ROLE_READ: frozenset({Access.ACCESS_READ, Access.ACCESS_READ_APPLICATION}),
    ApiKeyRole.API_KEY_ROLE_APPLICATION: frozenset(
        {Access.ACCESS_READ_APPLICATION, Access.ACCESS_MANAGE_APPLICATION}
    ),
}


def access_of(method: MethodDescriptor) -> Access.ValueType:
    """What it takes to call the method; ValueError when the contract does not say."""
    taken: Access.ValueType = method.GetOptions().Extensions[access]
    if taken == Access.ACCESS_UNSPECIFIED:
        raise ValueError(f"{method.full_name} has no option (octohooks.v1.access)")
    return taken


def rights_of(role: ApiKeyRole.ValueType | None) -> frozenset[Access.ValueType]:
    """What a key of this role opens; the operator's where it is None."""
    return _OPERATOR if role is None else _ROLES.get(role, frozenset())


def require_access(caller: Caller, taken: Access.ValueType) -> None:
    """PermissionDenied unless the caller's key opens what takes this access."""
    if taken in rights_of(caller.role):
        return
    if caller.role is None:
        raise PermissionDenied(
            "The call works inside one environment and needs one of its API keys.",
            reason="ENVIRONMENT_KEY_REQUIRED",
        )
    if taken == Access.ACCESS_OPERATE:
        raise PermissionDenied("The call needs the operator's key.")
    role = role_name(caller.role)
    raise PermissionDenied(
        f"The API key has the role {role!r}, which does not open this method.",
        reason="ROLE_LACKS_ACCESS",
        metadata={"role": role},
    )


def role_name(role: ApiKeyRole.ValueType) -> str:
    """A role as people write it, such as `send`."""
    return ApiKeyRole.Name(role).removeprefix("API_KEY_ROLE_").lower()
