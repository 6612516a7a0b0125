"""Every method asks for a key that opens it, and who has none learns nothing.

The tables are made from the descriptors of the contract, so that a new RPC is in them by itself.
"""

import pytest
from octohooks.v1.api_key_service_pb2 import RevokeApiKeyRequest
from octohooks.v1.environment_service_pb2 import DeleteEnvironmentRequest

from tests.server.api.rpcs import BY_METHOD, RPCS, Rpc
from tests.server.api.serving import Server, Tenant

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.one_database_is_enough]

# The services whose methods another key opens than one of an environment.
OPERATOR = "octohooks.v1.EnvironmentService"
EITHER = "octohooks.v1.ApiKeyService"

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


@pytest.mark.parametrize(
    "rpc",
    [rpc for rpc in RPCS if rpc.service not in (OPERATOR, EITHER)],
    ids=lambda rpc: rpc.method,
)
async def test_the_operators_key_opens_no_environment(server: Server, rpc: Rpc) -> None:
    refusal = await server.operator.refusal_of_bytes(rpc, b"")

    assert refusal.cause == ("PERMISSION_DENIED", "ENVIRONMENT_KEY_REQUIRED")


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in RPCS if rpc.service == OPERATOR], ids=lambda rpc: rpc.method
)
async def test_an_environments_key_does_not_do_the_operators_work(
    shared_tenant: Tenant, rpc: Rpc
) -> None:
    refusal = await shared_tenant.api.refusal_of_bytes(rpc, b"")

    assert refusal.cause == ("PERMISSION_DENIED", "OPERATOR_KEY_REQUIRED")
