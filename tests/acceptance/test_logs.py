"""The log leads from a call to the attempts that came of it, and holds nothing that is secret."""

import grpc.aio
from octohooks import AsyncOctohooks
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import CreateMessageRequest
from octohooks.v1.message_service_pb2_grpc import MessageServiceStub

from tests.acceptance.conftest import StartServer
from tests.acceptance.process import ServerProcess
from tests.receivers import Receiver, respond

PAYLOAD = b'{"card":"canary-of-the-payload"}'
HEADER = "canary-of-the-header"
ANSWER = b"canary-of-the-answer"


async def test_one_line_each_for_the_message_and_its_attempts_and_no_secret_in_any(
    start_server: StartServer,
) -> None:
    server = await start_server(log_level="debug")
    async with (
        Receiver(respond(500, ANSWER), respond(200, ANSWER)) as receiver,
        server.connect() as client,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        application = await client.application.create(uid="acme")
        endpoint = await client.endpoint.create(
            "acme",
            url=f"{receiver.url}?token=canary-of-the-url",
            headers={"x-token": HEADER},
            retry_schedule=[0, 0],
        )
        secret = (await client.endpoint.secret("acme", endpoint.id))[0].secret
        request = CreateMessageRequest(
            application="acme", message=Message(event_type="card.added", payload=PAYLOAD)
        )
        answer = await MessageServiceStub(channel).CreateMessage(
            request,
            metadata=(
                ("authorization", f"Bearer {server.api_key}"),
                ("request-id", "a-request-of-the-test"),
            ),
        )
        message = answer.message.id
        accepted = await server.logged("message_accepted", message=message)
        failed = await server.logged("attempt", message=message, number=1)
        succeeded = await server.logged("attempt", message=message, number=2)
    assert accepted["request_id"] == "a-request-of-the-test"
    assert accepted["application"] == application.id
    for line in (failed, succeeded):
        assert line["endpoint"] == endpoint.id
        # The call was over before, and attempts of other calls are made beside this one.
        assert "request_id" not in line
    assert (failed["level"], failed["status"], failed["delivery_ended"]) == ("info", 500, False)
    assert (succeeded["level"], succeeded["status"]) == ("debug", 200)
    assert succeeded["delivery_ended"] is True
    assert await server.stop() == 0
    # Standard output shows the first API key to whoever starts the server.
    log = "\n".join(line for line in server.output if line.startswith("{"))
    assert server.api_key not in log
    for canary in ("canary-of-", secret, secret.removeprefix("whsec_")):
        assert canary not in log


async def test_the_last_failure_of_a_delivery_is_a_warning(
    server: ServerProcess, client: AsyncOctohooks, application: str
) -> None:
    async with Receiver(respond(500)) as receiver:
        await client.endpoint.create(application, url=receiver.url, retry_schedule=[0])
        message = await client.message.create(application, event_type="e", payload={})
        line = await server.logged("attempt", message=message.id)
    assert (line["level"], line["delivery_ended"]) == ("warning", True)
