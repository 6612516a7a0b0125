"""EnvironmentService: units of isolation, in the hands of the operator."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message as AnyMessage
from octohooks.v1.api_key_service_pb2 import ListApiKeysRequest
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    ListApplicationsRequest,
)
from octohooks.v1.delivery_pb2 import CANCEL_REASON_APPLICATION_DELETED, DELIVERY_STATUS_CANCELLED
from octohooks.v1.endpoint_pb2 import (
    SIGNATURE_TYPE_ED25519,
    SIGNATURE_TYPE_HMAC_SHA256,
    SIGNATURE_TYPE_UNSPECIFIED,
    Endpoint,
)
from octohooks.v1.endpoint_service_pb2 import CreateEndpointRequest
from octohooks.v1.environment_pb2 import Environment
from octohooks.v1.environment_service_pb2 import (
    CreateEnvironmentRequest,
    DeleteEnvironmentRequest,
    GetEnvironmentRequest,
    ListEnvironmentsRequest,
    UpdateEnvironmentRequest,
)
from octohooks.v1.message_pb2 import Message
from octohooks.v1.message_service_pb2 import CreateMessageRequest
from octohooks.v1.retry_schedule_pb2 import RetrySchedule
from octohooks_server.rules.ids import is_id
from octohooks_server.store.tables import deliveries
from sqlalchemy import select

from tests.receivers import Receiver, respond
from tests.server.api.calls import Api
from tests.server.api.home import Home
from tests.server.api.serving import Server, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEVER = "env_01ARZ3NDEKTSV4RRFFQ69G5FAV"
DAY = timedelta(days=1)


def duration(span: timedelta) -> Duration:
    value = Duration()
    value.FromTimedelta(span)
    return value


def schedule(*seconds: float) -> RetrySchedule:
    return RetrySchedule(steps=[duration(timedelta(seconds=step)) for step in seconds])


WRONG_VALUES = [
    pytest.param({"name": ""}, "name", id="no name"),
    pytest.param({"name": "n" * 257}, "name", id="a name of 257 characters"),
    pytest.param({"retry_schedule": schedule()}, "retry_schedule", id="a schedule of no steps"),
    pytest.param(
        {"retry_schedule": schedule(*range(21))}, "retry_schedule", id="a schedule of 21 steps"
    ),
    pytest.param({"retry_schedule": schedule(-1)}, "retry_schedule", id="a step before"),
    pytest.param(
        {"retry_schedule": schedule(86_401)}, "retry_schedule", id="a step above 24 hours"
    ),
    pytest.param(
        {"payload_retention": duration(5 * DAY - timedelta(seconds=1))},
        "payload_retention",
        id="less than 5 days",
    ),
    pytest.param(
        {"payload_retention": duration(90 * DAY + timedelta(seconds=1))},
        "payload_retention",
        id="more than 90 days",
    ),
]
OUTPUT_ONLY = [
    pytest.param({"id": NEVER}, "id", id="an ID"),
    pytest.param({"create_time": {"seconds": 1}}, "create_time", id="a creation time"),
    pytest.param({"update_time": {"seconds": 1}}, "update_time", id="a change time"),
]


async def made(server: Server, **values: Any) -> Environment:
    request = CreateEnvironmentRequest(environment=Environment(**{"name": "Staging", **values}))
    environment = (await server.operator(request)).environment
    assert isinstance(environment, Environment)
    return environment


async def stored(server: Server, id: str) -> Environment:
    environment = (await server.operator(GetEnvironmentRequest(environment=id))).environment
    assert isinstance(environment, Environment)
    return environment


async def changed(
    server: Server, environment: Environment, values: Environment, *paths: str
) -> Environment:
    request = UpdateEnvironmentRequest(
        environment=environment.id, values=values, update_mask=FieldMask(paths=paths)
    )
    answer = (await server.operator(request)).environment
    assert isinstance(answer, Environment)
    return answer


async def test_an_environment_is_created_with_all_that_is_given(server: Server) -> None:
    values: dict[str, Any] = {
        "name": "Production EU",
        "retry_schedule": schedule(0, 1.5),
        "payload_retention": duration(30 * DAY),
        "default_signature_type": SIGNATURE_TYPE_ED25519,
        "enforce_schemas": True,
    }

    environment = await made(server, **values)

    assert is_id(environment.id, "env_")
    assert environment.create_time == environment.update_time
    assert environment == Environment(
        **values,
        id=environment.id,
        create_time=environment.create_time,
        update_time=environment.update_time,
    )
    assert await stored(server, environment.id) == environment


async def test_an_environment_shows_the_defaults_of_what_is_not_given(server: Server) -> None:
    environment = await made(server)

    assert not environment.HasField("retry_schedule")
    assert environment.payload_retention == duration(90 * DAY)
    assert environment.default_signature_type == SIGNATURE_TYPE_HMAC_SHA256
    assert not environment.enforce_schemas


async def test_limits_can_be_reached(server: Server) -> None:
    steps = schedule(*([86_400] * 20))

    environment = await made(
        server, name="ñ" * 256, retry_schedule=steps, payload_retention=duration(5 * DAY)
    )

    assert environment.name == "ñ" * 256
    assert environment.retry_schedule == steps
    assert environment.payload_retention == duration(5 * DAY)


async def test_names_need_not_be_unique(server: Server) -> None:
    assert (await made(server, name="Twin")).id != (await made(server, name="Twin")).id


@pytest.mark.parametrize(("values", "field"), [*WRONG_VALUES, *OUTPUT_ONLY])
async def test_creation_refuses_and_names_the_field(
    server: Server, values: dict[str, Any], field: str
) -> None:
    environment = Environment(**{"name": "Staging", **values})

    refusal = await server.operator.refusal(CreateEnvironmentRequest(environment=environment))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"environment.{field}"]


async def test_creation_names_every_wrong_field_at_once(server: Server) -> None:
    wrong = Environment(retry_schedule=schedule(), payload_retention=duration(DAY))

    refusal = await server.operator.refusal(CreateEnvironmentRequest(environment=wrong))

    assert refusal.fields == [
        "environment.name",
        "environment.retry_schedule",
        "environment.payload_retention",
    ]


async def test_an_unknown_signature_type_is_refused(server: Server) -> None:
    wrong = Environment(name="Staging", default_signature_type=77)  # type: ignore[arg-type]

    refusal = await server.operator.refusal(CreateEnvironmentRequest(environment=wrong))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["environment.default_signature_type"]


async def test_a_repeated_creation_with_one_key_makes_one_environment(server: Server) -> None:
    key = uuid.uuid4().hex
    request = CreateEnvironmentRequest(environment=Environment(name="Once"))

    first = await server.operator(request, idempotency_key=key)
    again = await server.operator(request, idempotency_key=key)

    assert again == first
    assert (await server.operator(request, idempotency_key=uuid.uuid4().hex)) != first


async def test_a_key_that_was_used_for_another_environment_is_refused(server: Server) -> None:
    key = uuid.uuid4().hex
    await server.operator(
        CreateEnvironmentRequest(environment=Environment(name="One")), idempotency_key=key
    )

    refusal = await server.operator.refusal(
        CreateEnvironmentRequest(environment=Environment(name="Other")), idempotency_key=key
    )

    assert refusal.cause == ("FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED")


async def test_fifty_concurrent_creations_with_one_key_make_one_environment(
    server: Server,
) -> None:
    key, name = uuid.uuid4().hex, f"Fifty {uuid.uuid4().hex}"
    request = CreateEnvironmentRequest(environment=Environment(name=name))

    answers = await asyncio.gather(
        *(server.operator(request, idempotency_key=key) for _ in range(50))
    )

    assert all(answer == answers[0] for answer in answers)
    assert [one.name for one in await all_environments(server)].count(name) == 1


async def all_environments(server: Server, page_size: int = 250) -> list[Environment]:
    found: list[Environment] = []
    token = ""
    while True:
        page = await server.operator(ListEnvironmentsRequest(page_size=page_size, page_token=token))
        assert len(page.environments) <= page_size
        found.extend(page.environments)
        token = page.next_page_token
        if not token:
            return found


async def test_environments_are_listed_oldest_first_page_by_page(server: Server) -> None:
    made_ones = [await made(server, name=f"Page {number}") for number in range(5)]

    listed = await all_environments(server, page_size=2)

    ids = [environment.id for environment in listed]
    assert ids == sorted(ids)
    assert [one for one in listed if one.id in {made_one.id for made_one in made_ones}] == made_ones


async def test_a_page_size_is_not_negative(server: Server) -> None:
    refusal = await server.operator.refusal(ListEnvironmentsRequest(page_size=-1))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


async def test_a_page_token_of_nobody_is_refused(server: Server) -> None:
    refusal = await server.operator.refusal(ListEnvironmentsRequest(page_token="made-up"))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
    assert refusal.fields == ["page_token"]


async def test_an_update_changes_what_its_mask_names_and_nothing_else(server: Server) -> None:
    environment = await made(server, name="Before", enforce_schemas=True)
    values = Environment(name="After", retry_schedule=schedule(7), enforce_schemas=False)

    answer = await changed(server, environment, values, "retry_schedule", "enforce_schemas")

    assert answer.name == "Before"
    assert answer.retry_schedule == schedule(7)
    assert not answer.enforce_schemas
    assert answer.update_time.ToDatetime() > environment.update_time.ToDatetime()
    assert await stored(server, environment.id) == answer


async def test_an_update_without_a_mask_changes_what_is_set(server: Server) -> None:
    environment = await made(server, name="Before", retry_schedule=schedule(3))

    answer = await changed(server, environment, Environment(name="After"))

    assert answer.name == "After"
    assert answer.retry_schedule == schedule(3)


async def test_what_a_mask_names_and_is_unset_gets_its_default_again(server: Server) -> None:
    environment = await made(
        server,
        retry_schedule=schedule(3),
        payload_retention=duration(7 * DAY),
        default_signature_type=SIGNATURE_TYPE_ED25519,
        enforce_schemas=True,
    )
    paths = ("retry_schedule", "payload_retention", "default_signature_type", "enforce_schemas")

    answer = await changed(
        server, environment, Environment(default_signature_type=SIGNATURE_TYPE_UNSPECIFIED), *paths
    )

    assert not answer.HasField("retry_schedule")
    assert answer.payload_retention == duration(90 * DAY)
    assert answer.default_signature_type == SIGNATURE_TYPE_HMAC_SHA256
    assert not answer.enforce_schemas


@pytest.mark.parametrize(("values", "field"), WRONG_VALUES)
async def test_an_update_refuses_and_names_the_field(
    server: Server, values: dict[str, Any], field: str
) -> None:
    environment = await made(server)
    request = UpdateEnvironmentRequest(
        environment=environment.id,
        values=Environment(**values),
        update_mask=FieldMask(paths=list(values)),
    )

    refusal = await server.operator.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"values.{field}"]
    assert await stored(server, environment.id) == environment


@pytest.mark.parametrize(
    "path", ["id", "create_time", "update_time", "colour", "retry_schedule.steps", ""]
)
async def test_an_update_refuses_paths_that_cannot_be_changed(server: Server, path: str) -> None:
    environment = await made(server)
    request = UpdateEnvironmentRequest(
        environment=environment.id, update_mask=FieldMask(paths=["enforce_schemas", path])
    )

    refusal = await server.operator.refusal(request)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["update_mask.paths[1]"]


async def test_the_default_signature_type_is_that_of_new_endpoints(server: Server) -> None:
    tenant = await server.new_tenant(default_signature_type=SIGNATURE_TYPE_ED25519)
    application = await tenant.octohooks.application.create()

    answer = await tenant.api(
        CreateEndpointRequest(
            application=application.id, endpoint=Endpoint(url="http://127.0.0.1:1/")
        )
    )

    assert answer.endpoint.signature_type == SIGNATURE_TYPE_ED25519


async def test_a_deleted_environment_is_not_found_and_not_listed(server: Server) -> None:
    environment = await made(server)

    await server.operator(DeleteEnvironmentRequest(environment=environment.id))

    for request in (
        GetEnvironmentRequest(environment=environment.id),
        UpdateEnvironmentRequest(environment=environment.id),
        DeleteEnvironmentRequest(environment=environment.id),
        ListApiKeysRequest(environment=environment.id),
    ):
        assert (await server.operator.refusal(request)).cause == ("NOT_FOUND", "NOT_FOUND")
    assert environment.id not in [one.id for one in await all_environments(server)]


async def test_the_keys_of_a_deleted_environment_stop_at_once(server: Server) -> None:
    tenant = await server.new_tenant()
    await tenant.api(ListApplicationsRequest())

    await server.operator(DeleteEnvironmentRequest(environment=tenant.id))

    refusal = await tenant.api.refusal(ListApplicationsRequest())
    assert refusal.cause == ("UNAUTHENTICATED", "INVALID_API_KEY")


async def test_what_waits_in_a_deleted_environment_is_cancelled(home: Home) -> None:
    """No key can see it any more, so the database is asked."""
    async with (
        serving(home) as server,
        Receiver(respond(500)) as receiver,
        home.opened() as database,
    ):
        # The second attempt would follow a day after the first.
        tenant = await server.new_tenant(retry_schedule=schedule(0, 86_400))
        await tenant.api(CreateApplicationRequest(application=Application(uid="a")))
        endpoint = Endpoint(url=receiver.url)
        await tenant.api(CreateEndpointRequest(application="a", endpoint=endpoint))
        webhook = Message(event_type="invoice.paid", payload=b"{}")
        await tenant.api(CreateMessageRequest(application="a", message=webhook))

        async def delivery() -> Any:
            async with database.read() as conn:
                return (await conn.execute(select(deliveries))).one()

        async def has_failed_once() -> bool:
            return bool((await delivery()).attempt_count == 1)

        async def has_ended() -> bool:
            return (await delivery()).due_at is None

        await eventually(has_failed_once)
        await server.operator(DeleteEnvironmentRequest(environment=tenant.id))
        await eventually(has_ended)

        ended = await delivery()
        assert ended.status == DELIVERY_STATUS_CANCELLED
        assert ended.cancel_reason == CANCEL_REASON_APPLICATION_DELETED
        await database.close()


@pytest.mark.parametrize(
    "request_",
    [
        CreateEnvironmentRequest(environment=Environment(name="Mine")),
        GetEnvironmentRequest(environment=NEVER),
        ListEnvironmentsRequest(),
        UpdateEnvironmentRequest(environment=NEVER),
        DeleteEnvironmentRequest(environment=NEVER),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_every_method_needs_the_operators_key(
    server: Server, api: Api, request_: AnyMessage
) -> None:
    refusal = await api.refusal(request_)

    assert refusal.cause == ("PERMISSION_DENIED", "OPERATOR_KEY_REQUIRED")
    without_key = await server.api(None).refusal(request_)
    assert without_key.cause == ("UNAUTHENTICATED", "INVALID_API_KEY")


@pytest.mark.parametrize(
    "request_",
    [
        GetEnvironmentRequest(environment=NEVER),
        UpdateEnvironmentRequest(environment=NEVER),
        DeleteEnvironmentRequest(environment=NEVER),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_an_environment_that_never_was_is_not_found(
    server: Server, request_: AnyMessage
) -> None:
    refusal = await server.operator.refusal(request_)

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("environment", NEVER)


@pytest.mark.parametrize(
    "request_",
    [GetEnvironmentRequest(), UpdateEnvironmentRequest(), DeleteEnvironmentRequest()],
    ids=lambda request: type(request).__name__,
)
async def test_the_environment_has_to_be_named(server: Server, request_: AnyMessage) -> None:
    refusal = await server.operator.refusal(request_)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["environment"]
