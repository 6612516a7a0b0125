"""Every method asks for a key that opens it, and who has none learns nothing.

The tables are made from the descriptors of the contract, so that a new RPC is in them by itself.
"""

from typing import Any
from unittest.mock import Mock

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2_grpc
from octohooks.v1.access_pb2 import access
from octohooks.v1.api_key_service_pb2 import RevokeApiKeyRequest
from octohooks.v1.application_service_pb2 import ListApplicationsRequest
from octohooks.v1.environment_service_pb2 import DeleteEnvironmentRequest
from octohooks.values import ApiKeyRoleValue
from octohooks_server.api.calls_under_way import CallsUnderWay
from octohooks_server.api.gate import Gate

from tests.server.api.calls import Api, Refused
from tests.server.api.rpcs import BY_METHOD, RPCS, Rpc
from tests.server.api.serving import Server

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

every_rpc = pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method)
NO_KEY = ("UNAUTHENTICATED", "INVALID_API_KEY")


@every_rpc
async def test_nothing_is_open_without_a_key(server: Server, rpc: Rpc) -> None:
    nobody = server.api(None)
    reference = await nobody.refusal_of_bytes(RPCS[0], b"")
    assert reference.cause == NO_KEY

    for value in ("", "Bearer", "Bearer ", f"Bearer octo_{'A' * 43}", "Basic b2N0bzpob29rcw=="):
        refusal = await nobody.refusal_of_bytes(rpc, b"", (("authorization", value),))
        assert refusal.status == reference.status
    assert (await nobody.refusal_of_bytes(rpc, b"")).status == reference.status


@every_rpc
async def test_who_has_no_key_learns_nothing_about_the_rest_of_the_call(
    server: Server, rpc: Rpc
) -> None:
    nobody = server.api(None)

    broken = await nobody.refusal_of_bytes(rpc, b"\xff\xff", (("idempotency-key", "k" * 300),))

    assert broken.status == (await nobody.refusal_of_bytes(RPCS[0], b"")).status


async def test_keys_that_ended_answer_like_those_that_never_were(server: Server) -> None:
    nobody = await server.api(None).refusal_of_bytes(RPCS[0], b"")
    kept, deleted = await server.new_tenant(), await server.new_tenant()
    created = await kept.octohooks.api_key.create()
    revoked = server.api(created.key)
    await revoked.exchange(BY_METHOD["ListApplications"], [b""])
    await deleted.api.exchange(BY_METHOD["ListApplications"], [b""])

    await kept.api(RevokeApiKeyRequest(api_key=created.api_key.id))
    await server.operator(DeleteEnvironmentRequest(environment=deleted.id))

    for ended in (revoked, deleted.api):
        for rpc in RPCS:
            assert (await ended.refusal_of_bytes(rpc, b"")).status == nobody.status


ENVIRONMENT_KEY = ("PERMISSION_DENIED", "ENVIRONMENT_KEY_REQUIRED")
OPERATOR_KEY = ("PERMISSION_DENIED", "OPERATOR_KEY_REQUIRED")
OTHER_ROLE = ("PERMISSION_DENIED", "ROLE_LACKS_ACCESS")

# Who may do what, written down a second time: by the names of methods, where the contract says it
# by an option of each.
SENDS = {"CreateMessage", "BatchCreateMessages", "PublishMessages"}
WRITES_IN_APPLICATIONS = {
    "CreateEndpoint",
    "UpdateEndpoint",
    "DeleteEndpoint",
    "GetEndpointSecret",
    "RotateEndpointSecret",
    "RecoverEndpoint",
    "ReplayEndpoint",
    "SendExample",
    "ResendDelivery",
}
READS_IN_APPLICATIONS = {
    "GetApplication",
    "ListApplications",
    "GetEndpoint",
    "ListEndpoints",
    "GetEndpointStats",
    "GetMessage",
    "ListMessages",
    "ExplainMessage",
    "ListDeliveries",
    "GetDelivery",
    "ListAttempts",
    "GetAttempt",
    "WatchAttempts",
    "GetJob",
}
READS_BESIDE = {
    "GetEventType",
    "ListEventTypes",
    "GetOperationalWebhook",
    "ListOperationalWebhooks",
}
ADMINISTERS = {"CreateApiKey", "ListApiKeys", "RotateApiKey", "RevokeApiKey", "ListAuditEvents"}
OPERATES = {rpc.method for rpc in RPCS if rpc.service == "octohooks.v1.EnvironmentService"}
OPENED = {
    "operator": OPERATES | ADMINISTERS,
    "full": {rpc.method for rpc in RPCS} - OPERATES,
    "send": SENDS,
    "read": READS_IN_APPLICATIONS | READS_BESIDE,
    "application": READS_IN_APPLICATIONS | WRITES_IN_APPLICATIONS,
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def holders(server: Server) -> dict[str, Api]:
    """Somebody with a key of each role, all of one environment."""
    tenant = await server.new_tenant()
    await tenant.octohooks.application.create(uid="acme")
    keys: dict[str, Api] = {"operator": server.operator, "full": tenant.api}
    roles: list[tuple[ApiKeyRoleValue, str | None]] = [
        ("send", None),
        ("read", None),
        ("application", "acme"),
    ]
    for role, application in roles:
        made = await tenant.octohooks.api_key.create(role=role, application=application)
        keys[str(role)] = server.api(made.key)
    return keys


def refusal_for(role: str, rpc: Rpc) -> tuple[str, str]:
    """What holders of the role are told about an RPC that is not open to them."""
    if role == "operator":
        return ENVIRONMENT_KEY
    return OPERATOR_KEY if rpc.method in OPERATES else OTHER_ROLE


async def cause_of(api: Api, rpc: Rpc) -> tuple[str, str] | None:
    """Why a call with an empty request is refused; None when it is answered."""
    try:
        await api.exchange(rpc, [b""])
    except Refused as error:
        return error.refusal.cause
    return None


@every_rpc
@pytest.mark.parametrize("role", OPENED)
async def test_an_rpc_is_open_to_the_roles_that_it_is_for_and_to_no_other(
    holders: dict[str, Api], rpc: Rpc, role: str
) -> None:
    cause = await cause_of(holders[role], rpc)

    if rpc.method in OPENED[role]:
        assert cause is None or cause[0] in ("INVALID_ARGUMENT", "NOT_FOUND")
    else:
        assert cause == refusal_for(role, rpc)


@every_rpc
async def test_a_key_without_the_right_learns_nothing_about_the_rest_of_the_call(
    holders: dict[str, Api], rpc: Rpc
) -> None:
    for role in (role for role, opened in OPENED.items() if rpc.method not in opened):
        api = holders[role]
        whole = await api.refusal_of_bytes(rpc, b"")
        broken = await api.refusal_of_bytes(rpc, b"\xff", (("idempotency-key", "k" * 300),))
        assert broken.status == whole.status


async def test_a_refusal_names_the_role_that_is_not_enough(holders: dict[str, Api]) -> None:
    refusal = await holders["send"].refusal(ListApplicationsRequest())

    assert refusal.info.metadata["role"] == "send"
    assert "'send'" in refusal.message


@every_rpc
async def test_every_rpc_says_in_the_contract_what_it_takes(rpc: Rpc) -> None:
    service = descriptor_pool.Default().FindServiceByName(rpc.service)

    assert service.methods_by_name[rpc.method].GetOptions().Extensions[access]


async def test_an_rpc_that_does_not_say_so_is_not_served() -> None:
    """Here one of another package, which cannot say it."""
    gate: Any = Gate(
        grpc.aio.server(),
        authenticator=Mock(),
        database=Mock(),
        limits=Mock(),
        calls=CallsUnderWay(),
    )

    with pytest.raises(ValueError, match=r"no option \(octohooks.v1.access\)"):
        health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), gate)
