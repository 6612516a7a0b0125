"""With the operator's encryption key, what is secret is found nowhere but where it belongs."""

import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import closing

import asyncpg
import grpc.aio
import pytest
from google.protobuf.message import Message
from octohooks.v1.api_key_service_pb2 import CreateApiKeyRequest, RotateApiKeyRequest
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import CreateApplicationRequest
from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_ED25519, Endpoint
from octohooks.v1.endpoint_service_pb2 import (
    CreateEndpointRequest,
    GetEndpointSecretRequest,
    RotateEndpointSecretRequest,
)
from octohooks.v1.environment_service_pb2 import ListEnvironmentsRequest
from octohooks.v1.event_type_pb2 import EventType
from octohooks.v1.event_type_service_pb2 import CreateEventTypeRequest
from octohooks.v1.message_pb2 import Message as Webhooked
from octohooks.v1.message_service_pb2 import BatchCreateMessagesRequest, CreateMessageRequest

from tests.acceptance.canaries import files_of, found, rows_of
from tests.acceptance.conftest import StartServer
from tests.acceptance.process import ServerProcess
from tests.postgresql import Cluster
from tests.receivers import Receiver, respond
from tests.server.api.calls import Api

KEY = b"canary encryption key, 32 bytes."
HMAC = b"canary of an endpoint's secret, 32+"
ROTATED = b"canary of the secret that follows it"
ED25519 = b"canary, the seed of a key pair.."
HEADER = "Bearer canary-of-a-header-of-an-endpoint"
WRONG_HEADER = "canary-of-a-header-that-is-refused"
OPERATOR_KEY = "canary-of-the-operators-key-0123456789"
PASSWORD = "canary-of-the-databases-password"
PAYLOAD = b"canary-of-a-payload"


def text(key: bytes) -> str:
    return b64encode(key).decode()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An empty PostgreSQL database with a password in its URL; for SQLite no URL."""
    if request.param == "sqlite":
        yield ""
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    name = await cluster.create_empty()
    before, _, after = cluster.url(name).partition("@")
    yield f"{before.rpartition(':')[0]}:{PASSWORD}@{after}" if after else cluster.url(name)
    await cluster.drop(name)


async def database_of(server: ServerProcess, url: str) -> Sequence[tuple[str, bytes]]:
    return await rows_of(url) if url else files_of(server.data_dir)


async def test_what_is_secret_is_in_no_database_log_or_error(
    start_server: StartServer, database_url: str
) -> None:
    server = await start_server(
        database_url=database_url,
        encryption_keys=text(KEY),
        operator_key=OPERATOR_KEY,
        log_level="debug",
    )
    told: list[tuple[str, bytes]] = []
    secrets = {
        "encryption key": KEY,
        "operator's key": OPERATOR_KEY.encode(),
        "database password": PASSWORD.encode(),
        "endpoint secret": HMAC,
        "rotated endpoint secret": ROTATED,
        "private key": ED25519,
        "header": HEADER.encode(),
        "refused header": WRONG_HEADER.encode(),
    }
    async with (
        Receiver(respond(200), respond(500)) as receiver,
        grpc.aio.insecure_channel(server.address) as channel,
        server.connect() as client,
    ):
        operator, api = Api(channel, OPERATOR_KEY), Api(channel, server.api_key)

        async def refused(request: Message, by: Api = api) -> None:
            refusal = await by.refusal(request)
            told.append((type(request).__name__, refusal.status.SerializeToString()))

        (environment,) = (await operator(ListEnvironmentsRequest())).environments
        made = await operator(
            CreateApiKeyRequest(environment=environment.id), idempotency_key="create a key"
        )
        rotated = await Api(channel, made.key)(
            RotateApiKeyRequest(api_key=made.api_key.id), idempotency_key="rotate a key"
        )
        secrets["API key"], secrets["rotated API key"] = made.key.encode(), rotated.key.encode()

        await api(CreateApplicationRequest(application=Application(uid="acme")))
        endpoint = Endpoint(
            uid="signed",
            url=receiver.url,
            headers={"authorization": HEADER},
        )
        endpoint.retry_schedule.steps.add().seconds = 0
        create = CreateEndpointRequest(
            application="acme", endpoint=endpoint, secret=f"whsec_{text(HMAC)}"
        )
        await api(create, idempotency_key="create an endpoint")
        await refused(create)
        await api(
            RotateEndpointSecretRequest(
                application="acme", endpoint="signed", secret=f"whsec_{text(ROTATED)}"
            ),
            idempotency_key="rotate a secret",
        )
        await api(
            CreateEndpointRequest(
                application="acme",
                endpoint=Endpoint(url=receiver.url, signature_type=SIGNATURE_TYPE_ED25519),
                secret=f"whsk_{text(ED25519)}",
            )
        )

        schema = b'{"type":"object","properties":{"card":{"type":"number"}}}'
        await api(
            CreateEventTypeRequest(event_type=EventType(name="strict", schema=schema.decode()))
        )
        payload = b'{"card":"%b"}' % PAYLOAD
        async with client.attempt.watch() as watch:
            await watch.wait_until_live()
            await api(
                CreateMessageRequest(
                    application="acme", message=Webhooked(event_type="e", payload=payload)
                )
            )
            attempts = [(await anext(watch)).attempt for _ in range(2)]
        assert sorted(one.response_status for one in attempts) == [200, 500]
        assert any(HEADER in request.all("authorization") for request in receiver.requests)

        # What callers get wrong, with a secret in what they sent.
        for wrong in (payload[:-1], b"\xff" + PAYLOAD, b'{"a":1,"a":"%b"}{' % PAYLOAD):
            message = Webhooked(event_type="strict", payload=wrong)
            request = CreateMessageRequest(application="acme", message=message)
            await refused(request)
            answer = await api(BatchCreateMessagesRequest(requests=[request]))
            told.append(("batch", answer.SerializeToString()))
        await refused(
            CreateEndpointRequest(
                application="acme",
                endpoint=Endpoint(url=receiver.url, headers={"x": WRONG_HEADER + "\n"}),
            )
        )
        for secret in (f"whsec_{text(HMAC)}!", f"whsk_{text(HMAC)}", HMAC.decode()):
            await refused(
                CreateEndpointRequest(
                    application="acme", endpoint=Endpoint(url=receiver.url), secret=secret
                )
            )
        for key in (made.key[:-1], OPERATOR_KEY + "x", rotated.key + "x"):
            await refused(ListEnvironmentsRequest(), Api(channel, key))
        await refused(ListEnvironmentsRequest(), Api(channel, rotated.key))

        # Nor are answers readable to who guesses the caller's idempotency key.
        again = await operator(
            CreateApiKeyRequest(environment=environment.id), idempotency_key="create a key"
        )
        assert again.key == made.key
        assert await sealed_answers(server, database_url) == 4

        kept = dict(secrets)
        assert not found(kept, await database_of(server, database_url))

        # A defect: somebody put a secret where it does not belong.
        await damage_secrets(server, database_url)
        await refused(GetEndpointSecretRequest(application="acme", endpoint="signed"))
        await server.logged("call_failed")
    await server.stop()

    assert not found(kept, await database_of(server, database_url))
    said = [("output", server.text().encode()), *told]
    assert not found(secrets | {"payload": PAYLOAD}, said)
    # The search itself finds what is there.
    assert found({"payload": PAYLOAD}, await database_of(server, database_url))


async def sealed_answers(server: ServerProcess, url: str) -> int:
    if url:
        connection = await asyncpg.connect(url)
        answers = [
            row[0] for row in await connection.fetch("SELECT answer FROM idempotent_answers")
        ]
        await connection.close()
    else:
        with closing(sqlite3.connect(server.data_dir / "octohooks.db", timeout=20)) as conn:
            answers = [row[0] for row in conn.execute("SELECT answer FROM idempotent_answers")]
    return len([one for one in answers if bytes(one).startswith(b"sealed:")])


async def damage_secrets(server: ServerProcess, url: str) -> None:
    change = "UPDATE endpoint_secrets SET number = number + 10"
    if url:
        connection = await asyncpg.connect(url)
        await connection.execute(change)
        await connection.close()
        return
    with closing(sqlite3.connect(server.data_dir / "octohooks.db", timeout=20)) as conn:
        conn.execute(change)
        conn.commit()
