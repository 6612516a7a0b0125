"""ApiKeyService: the keys that open an environment."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from octohooks.v1.access_pb2 import Access
from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
)
from octohooks.v1.application_service_pb2 import GetApplicationRequest, ListApplicationsRequest
from octohooks.v1.environment_service_pb2 import DeleteEnvironmentRequest
from octohooks_server.api.access import rights_of
from octohooks_server.rules.ids import is_id

from tests.server.api.calls import Api, Refusal, Refused
from tests.server.api.home import Home
from tests.server.api.rows import all_text
from tests.server.api.serving import Clock, Server, Tenant, serving
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEVER = "key_01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_KEY = ("UNAUTHENTICATED", "INVALID_API_KEY")


class Hourglass:
    """A server with a clock in the test's hand, and an environment in it."""

    def __init__(self, server: Server, tenant: Tenant, clock: Clock) -> None:
        self.server = server
        self.tenant = tenant
        self.clock = clock


@pytest_asyncio.fixture(loop_scope="session")
async def hourglass(home: Home) -> AsyncIterator[Hourglass]:
    clock = Clock()
    async with serving(home, clock=clock) as server:
        yield Hourglass(server, await server.new_tenant(), clock)


def timestamp(time: datetime) -> Timestamp:
    value = Timestamp()
    value.FromDatetime(time)
    return value


def duration(**span: float) -> Duration:
    value = Duration()
    value.FromTimedelta(timedelta(**span))
    return value


async def made(api: Api, **values: Any) -> CreateApiKeyResponse:
    answer = await api(CreateApiKeyRequest(api_key=ApiKey(**values)))
    assert isinstance(answer, CreateApiKeyResponse)
    return answer


async def rotated(api: Api, id: str, overlap: Duration | None = None) -> RotateApiKeyResponse:
    answer = await api(RotateApiKeyRequest(api_key=id, overlap=overlap))
    assert isinstance(answer, RotateApiKeyResponse)
    return answer


async def listed(api: Api, environment: str = "") -> list[ApiKey]:
    answer = await api(ListApiKeysRequest(environment=environment))
    return list(answer.api_keys)


async def opens(server: Server, key: str) -> bool:
    """Whether a key opens its environment; fails when it is refused for anything else."""
    try:
        await server.api(key)(ListApplicationsRequest())
    except Refused as error:
        if error.refusal.cause != NO_KEY:
            raise
        return False
    return True


async def test_a_new_key_opens_its_environment(server: Server, tenant: Tenant) -> None:
    application = await tenant.octohooks.application.create(uid="acme")

    answer = await made(tenant.api, name="billing service")

    key = answer.api_key
    assert is_id(key.id, "key_")
    assert key.environment == tenant.id
    assert key.name == "billing service"
    assert not key.HasField("expire_time")
    assert not key.HasField("last_used_time")
    assert list((await server.api(answer.key)(ListApplicationsRequest())).applications) == [
        application
    ]


async def test_a_key_is_shown_once_and_recognised_by_its_beginning(tenant: Tenant) -> None:
    answer = await made(tenant.api)

    assert len(answer.key) > 40
    assert answer.key.startswith(answer.api_key.display_prefix)
    assert len(answer.api_key.display_prefix) < 16
    assert all(answer.key not in str(key) for key in await listed(tenant.api))


async def test_no_key_is_kept_in_the_database(home: Home) -> None:
    """Neither as it is, nor in the answers that are kept for idempotency keys."""
    async with serving(home) as server:
        tenant = await server.new_tenant()
        answer = await tenant.api(CreateApiKeyRequest(), idempotency_key="once")
        dump = await all_text(server.database)

        assert answer.api_key.id in dump
        assert answer.key not in dump
        assert answer.key.encode().hex() not in dump


async def test_two_keys_are_never_alike(tenant: Tenant) -> None:
    first, second = await made(tenant.api), await made(tenant.api)

    assert first.key != second.key
    assert first.api_key.id < second.api_key.id


async def test_the_operator_makes_keys_of_the_environment_that_is_named(
    server: Server, tenant: Tenant
) -> None:
    answer = await server.operator(
        CreateApiKeyRequest(environment=tenant.id, api_key=ApiKey(name="ops"))
    )

    assert answer.api_key.environment == tenant.id
    assert answer.api_key in await listed(tenant.api)
    assert await listed(server.operator, tenant.id) == await listed(tenant.api)


@pytest.mark.parametrize(
    "request_",
    [CreateApiKeyRequest(), ListApiKeysRequest()],
    ids=lambda request: type(request).__name__,
)
async def test_the_operator_has_to_name_the_environment(server: Server, request_: Message) -> None:
    refusal = await server.operator.refusal(request_)

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["environment"]


async def test_the_operator_cannot_make_keys_of_nothing(server: Server) -> None:
    nowhere = "env_01ARZ3NDEKTSV4RRFFQ69G5FAV"

    refusal = await server.operator.refusal(CreateApiKeyRequest(environment=nowhere))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("environment", nowhere)


@pytest.mark.parametrize("kind", [CreateApiKeyRequest, ListApiKeysRequest], ids=["create", "list"])
async def test_a_key_may_name_its_own_environment_and_no_other(
    tenant: Tenant, other_tenant: Tenant, kind: Any
) -> None:
    await tenant.api(kind(environment=tenant.id))

    def told(refusal: Refusal, environment: str) -> bytes:
        data: bytes = refusal.status.SerializeToString()
        return data.replace(environment.encode(), b"")

    nowhere = "env_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    refusal = await tenant.api.refusal(kind(environment=other_tenant.id))
    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    of_nothing = await tenant.api.refusal(kind(environment=nowhere))
    assert told(refusal, other_tenant.id) == told(of_nothing, nowhere)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "n" * 257}, "name"),
        ({"expire_time": timestamp(datetime.now(UTC) - timedelta(seconds=1))}, "expire_time"),
        ({"expire_time": Timestamp(seconds=-(10**15))}, "expire_time"),
        ({"id": NEVER}, "id"),
        ({"environment": "env_x"}, "environment"),
        ({"display_prefix": "octo_"}, "display_prefix"),
        ({"last_used_time": Timestamp(seconds=1)}, "last_used_time"),
        ({"create_time": Timestamp(seconds=1)}, "create_time"),
    ],
    ids=[
        "a long name",
        "an expiry in the past",
        "an expiry before all years",
        "an ID",
        "an environment",
        "a display prefix",
        "a time of use",
        "a creation time",
    ],
)
async def test_creation_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    before = await listed(api)

    refusal = await api.refusal(CreateApiKeyRequest(api_key=ApiKey(**values)))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"api_key.{field}"]
    assert len(await listed(api)) == len(before)


async def test_an_expiry_at_this_moment_is_no_future(hourglass: Hourglass) -> None:
    now = hourglass.clock()
    hourglass.clock.advance(seconds=1)

    refusal = await hourglass.tenant.api.refusal(
        CreateApiKeyRequest(api_key=ApiKey(expire_time=timestamp(now)))
    )

    assert refusal.fields == ["api_key.expire_time"]


async def test_a_repeated_creation_shows_the_same_key_again(tenant: Tenant) -> None:
    request = CreateApiKeyRequest(api_key=ApiKey(name="once"))

    first = await tenant.api(request, idempotency_key="a")
    again = await tenant.api(request, idempotency_key="a")

    assert again == first
    assert [key.name for key in await listed(tenant.api)].count("once") == 1


async def test_an_idempotency_key_is_good_for_one_request(tenant: Tenant) -> None:
    await tenant.api(CreateApiKeyRequest(api_key=ApiKey(name="one")), idempotency_key="a")

    refusal = await tenant.api.refusal(
        CreateApiKeyRequest(api_key=ApiKey(name="other")), idempotency_key="a"
    )

    assert refusal.cause == ("FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED")


async def test_fifty_concurrent_creations_with_one_key_make_one_key(tenant: Tenant) -> None:
    key, request = uuid.uuid4().hex, CreateApiKeyRequest(api_key=ApiKey(name="fifty"))

    answers = await asyncio.gather(*(tenant.api(request, idempotency_key=key) for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert [one.name for one in await listed(tenant.api)].count("fifty") == 1


async def test_keys_are_listed_newest_first_page_by_page(tenant: Tenant) -> None:
    expected = [(await made(tenant.api, name=f"key {number}")).api_key for number in range(5)]
    found: list[ApiKey] = []
    token = ""
    while True:
        page = await tenant.api(ListApiKeysRequest(page_size=2, page_token=token))
        assert 0 < len(page.api_keys) <= 2
        found.extend(page.api_keys)
        token = page.next_page_token
        if not token:
            break

    # The last one is the key that the test holds.
    assert found[:-1] == expected[::-1]


async def test_a_page_token_is_bound_to_its_environment(
    server: Server, tenant: Tenant, other_tenant: Tenant
) -> None:
    await made(tenant.api)
    page = await server.operator(ListApiKeysRequest(environment=tenant.id, page_size=1))

    refusal = await server.operator.refusal(
        ListApiKeysRequest(environment=other_tenant.id, page_token=page.next_page_token)
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_a_page_size_is_not_negative(api: Api) -> None:
    refusal = await api.refusal(ListApiKeysRequest(page_size=-1))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


async def test_a_key_stops_when_it_expires_and_stays_listed(hourglass: Hourglass) -> None:
    tenant, clock = hourglass.tenant, hourglass.clock
    expire_time = timestamp(clock() + timedelta(hours=1))

    answer = await made(tenant.api, expire_time=expire_time)

    assert answer.api_key.expire_time == expire_time
    assert await opens(hourglass.server, answer.key)
    clock.advance(minutes=59)
    assert await opens(hourglass.server, answer.key)
    clock.advance(minutes=1)
    assert not await opens(hourglass.server, answer.key)
    assert answer.api_key.id in [key.id for key in await listed(tenant.api)]


async def test_a_key_shows_when_it_was_last_used(home: Home) -> None:
    async with serving(home) as server:
        tenant, unwanted = await server.new_tenant(), await server.new_tenant()
        key = await made(tenant.api)
        before = datetime.now(UTC)
        await opens(server, key.key)
        # Uses are noted in the background, which this wakes.
        await server.operator(DeleteEnvironmentRequest(environment=unwanted.id))

        async def shown() -> ApiKey | None:
            keys = {one.id: one for one in await listed(server.operator, tenant.id)}
            used = keys[key.api_key.id]
            return used if used.HasField("last_used_time") else None

        used = await eventually(shown)
        assert used is not None
        last_used = used.last_used_time.ToDatetime(tzinfo=UTC)
        assert before - timedelta(minutes=1) < last_used <= datetime.now(UTC)


async def test_a_rotated_key_stops_at_once_and_the_new_one_takes_its_place(
    server: Server, tenant: Tenant
) -> None:
    old = await made(tenant.api, name="billing service")
    assert await opens(server, old.key)

    new = await rotated(tenant.api, old.api_key.id)

    assert not await opens(server, old.key)
    assert await opens(server, new.key)
    assert new.api_key.id != old.api_key.id
    assert new.api_key.name == "billing service"
    assert new.api_key.environment == tenant.id
    assert not new.api_key.HasField("expire_time")
    assert new.key.startswith(new.api_key.display_prefix)


async def test_a_key_can_rotate_itself(server: Server, tenant: Tenant) -> None:
    old = await made(tenant.api)

    new = await rotated(server.api(old.key), old.api_key.id)

    assert not await opens(server, old.key)
    assert await opens(server, new.key)


async def test_a_rotated_key_goes_on_for_the_overlap(hourglass: Hourglass) -> None:
    server, tenant, clock = hourglass.server, hourglass.tenant, hourglass.clock
    old = await made(tenant.api)

    new = await rotated(tenant.api, old.api_key.id, duration(hours=2))

    clock.advance(hours=1, minutes=59)
    assert await opens(server, old.key)
    assert await opens(server, new.key)
    clock.advance(minutes=1)
    assert not await opens(server, old.key)
    assert await opens(server, new.key)
    (shown,) = [key for key in await listed(tenant.api) if key.id == old.api_key.id]
    assert shown.HasField("expire_time")


async def test_an_overlap_of_seven_days_is_the_longest(hourglass: Hourglass) -> None:
    server, tenant, clock = hourglass.server, hourglass.tenant, hourglass.clock
    old = await made(tenant.api)

    await rotated(tenant.api, old.api_key.id, duration(days=7))

    clock.advance(days=6, hours=23)
    assert await opens(server, old.key)
    clock.advance(hours=1)
    assert not await opens(server, old.key)


async def test_an_overlap_does_not_prolong_an_earlier_expiry(hourglass: Hourglass) -> None:
    tenant, clock = hourglass.tenant, hourglass.clock
    old = await made(tenant.api, expire_time=timestamp(clock() + timedelta(hours=1)))

    await rotated(tenant.api, old.api_key.id, duration(hours=2))

    clock.advance(hours=1)
    assert not await opens(hourglass.server, old.key)


@pytest.mark.parametrize(
    "overlap", [duration(seconds=-1), duration(days=7, seconds=1)], ids=["less", "more"]
)
async def test_an_overlap_is_nought_to_seven_days(
    server: Server, tenant: Tenant, overlap: Duration
) -> None:
    old = await made(tenant.api)

    refusal = await tenant.api.refusal(RotateApiKeyRequest(api_key=old.api_key.id, overlap=overlap))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["overlap"]
    assert await opens(server, old.key)


async def test_a_repeated_rotation_makes_one_key(tenant: Tenant) -> None:
    old = await made(tenant.api, name="rotated")
    request = RotateApiKeyRequest(api_key=old.api_key.id)

    first = await tenant.api(request, idempotency_key="a")
    again = await tenant.api(request, idempotency_key="a")

    assert again == first
    assert [key.name for key in await listed(tenant.api)].count("rotated") == 2


async def test_a_revoked_key_stops_at_once_and_is_not_listed(
    server: Server, tenant: Tenant
) -> None:
    key = await made(tenant.api)
    assert await opens(server, key.key)

    await tenant.api(RevokeApiKeyRequest(api_key=key.api_key.id))

    assert not await opens(server, key.key)
    assert key.api_key.id not in [one.id for one in await listed(tenant.api)]
    refusal = await tenant.api.refusal(RevokeApiKeyRequest(api_key=key.api_key.id))
    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")


async def test_the_operator_rotates_and_revokes_keys_of_every_environment(
    server: Server, tenant: Tenant
) -> None:
    key = await made(tenant.api)

    new = await rotated(server.operator, key.api_key.id)
    assert new.api_key.environment == tenant.id
    assert await opens(server, new.key)

    await server.operator(RevokeApiKeyRequest(api_key=new.api_key.id))
    assert not await opens(server, new.key)


@pytest.mark.parametrize(
    "kind", [RotateApiKeyRequest, RevokeApiKeyRequest], ids=["rotate", "revoke"]
)
async def test_the_key_of_another_environment_is_like_none(
    server: Server, tenant: Tenant, other_tenant: Tenant, kind: Any
) -> None:
    theirs = await made(other_tenant.api)

    refusal = await tenant.api.refusal(kind(api_key=theirs.api_key.id))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    of_nothing = await tenant.api.refusal(kind(api_key=NEVER))
    assert (
        refusal.status.SerializeToString().replace(theirs.api_key.id.encode(), NEVER.encode())
        == of_nothing.status.SerializeToString()
    )
    assert await opens(server, theirs.key)


@pytest.mark.parametrize(
    "kind", [RotateApiKeyRequest, RevokeApiKeyRequest], ids=["rotate", "revoke"]
)
async def test_the_key_has_to_be_named(api: Api, kind: Any) -> None:
    refusal = await api.refusal(kind())

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["api_key"]


@pytest.mark.parametrize(
    "request_",
    [
        CreateApiKeyRequest(),
        ListApiKeysRequest(),
        RotateApiKeyRequest(api_key=NEVER),
        RevokeApiKeyRequest(api_key=NEVER),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_every_method_needs_a_key(server: Server, request_: Message) -> None:
    for key in (None, "", "octo_unknown", "Bearer"):
        refusal = await server.api(key).refusal(request_)
        assert refusal.cause == NO_KEY


@pytest.mark.usefixtures("acme")
async def test_a_key_has_the_role_the_application_and_the_limits_that_it_was_made_with(
    api: Api,
) -> None:
    application = (await api(GetApplicationRequest(application="acme"))).application

    answer = await made(
        api,
        role=ApiKeyRole.API_KEY_ROLE_APPLICATION,
        application="acme",
        max_requests_per_second=20,
        max_watches=3,
    )

    assert answer.api_key.role == ApiKeyRole.API_KEY_ROLE_APPLICATION
    assert answer.api_key.application == application.id
    assert answer.api_key.max_requests_per_second == 20
    assert answer.api_key.max_watches == 3
    assert answer.api_key in await listed(api)


async def test_a_key_is_full_and_without_limits_of_its_own_unless_told(api: Api) -> None:
    key = (await made(api)).api_key

    assert key.role == ApiKeyRole.API_KEY_ROLE_FULL
    assert (key.application, key.max_requests_per_second, key.max_watches) == ("", 0, 0)


@pytest.mark.usefixtures("acme")
async def test_a_rotation_keeps_the_role_the_application_and_the_limits(api: Api) -> None:
    old = await made(
        api,
        name="portal",
        role=ApiKeyRole.API_KEY_ROLE_APPLICATION,
        application="acme",
        max_requests_per_second=20,
        max_watches=3,
    )

    new = (await rotated(api, old.api_key.id)).api_key

    for field in ("name", "role", "application", "max_requests_per_second", "max_watches"):
        assert getattr(new, field) == getattr(old.api_key, field)


@pytest.mark.one_database_is_enough
@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("values", "field"),
    [
        pytest.param({"role": 99}, "role", id="a role that there is not"),
        pytest.param(
            {"role": ApiKeyRole.API_KEY_ROLE_APPLICATION}, "application", id="no application"
        ),
        pytest.param({"application": "acme"}, "application", id="an application without the role"),
        pytest.param(
            {"role": ApiKeyRole.API_KEY_ROLE_APPLICATION, "application": "a\0"},
            "application",
            id="U+0000",
        ),
        pytest.param(
            {"max_requests_per_second": 100_001}, "max_requests_per_second", id="100,001 requests"
        ),
        pytest.param({"max_watches": 100_001}, "max_watches", id="100,001 watches"),
    ],
)
async def test_creation_refuses_wrong_roles_and_limits(
    api: Api, values: dict[str, Any], field: str
) -> None:
    refusal = await api.refusal(CreateApiKeyRequest(api_key=ApiKey(**values)))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"api_key.{field}"]


async def test_a_key_of_an_application_that_there_is_not_is_not_made(
    api: Api, other_tenant: Tenant
) -> None:
    theirs = await other_tenant.octohooks.application.create(uid="theirs")

    for reference in ("nobody", "theirs", theirs.id):
        key = ApiKey(role=ApiKeyRole.API_KEY_ROLE_APPLICATION, application=reference)
        refusal = await api.refusal(CreateApiKeyRequest(api_key=key))
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("application", reference)


async def test_a_key_makes_none_that_may_do_more_than_itself(server: Server, api: Api) -> None:
    limited = server.api((await made(api, max_requests_per_second=500, max_watches=2)).key)

    for key, field in (
        (ApiKey(max_requests_per_second=501), "max_requests_per_second"),
        (ApiKey(max_watches=3), "max_watches"),
    ):
        refusal = await limited.refusal(CreateApiKeyRequest(api_key=key))
        assert refusal.fields == [f"api_key.{field}"]

    smaller = (await made(limited, max_requests_per_second=499, max_watches=1)).api_key
    assert (smaller.max_requests_per_second, smaller.max_watches) == (499, 1)
    like_it = (await made(limited)).api_key
    assert (like_it.max_requests_per_second, like_it.max_watches) == (500, 2)


async def test_a_key_gets_none_by_rotation_that_may_do_more_than_itself(
    server: Server, api: Api
) -> None:
    limited = await made(api, max_requests_per_second=500)
    unlimited = await made(api)

    refusal = await server.api(limited.key).refusal(
        RotateApiKeyRequest(api_key=unlimited.api_key.id)
    )

    assert refusal.code == "PERMISSION_DENIED"
    assert await opens(server, unlimited.key)
    own = await rotated(server.api(limited.key), limited.api_key.id)
    assert own.api_key.max_requests_per_second == 500


async def test_only_keys_with_every_right_can_make_keys() -> None:
    """So none can make a key with more rights than it has."""
    everything = rights_of(ApiKeyRole.API_KEY_ROLE_FULL)
    for role in ApiKeyRole.values():
        if role != ApiKeyRole.API_KEY_ROLE_UNSPECIFIED:
            assert rights_of(role) <= everything
            assert (Access.ACCESS_ADMINISTER in rights_of(role)) == (rights_of(role) == everything)


@pytest.mark.usefixtures("acme")
async def test_a_key_of_one_application_ends_with_it(server: Server, tenant: Tenant) -> None:
    key = await made(tenant.api, role=ApiKeyRole.API_KEY_ROLE_APPLICATION, application="acme")
    assert await opens(server, key.key)

    await tenant.octohooks.application.delete("acme")

    assert not await opens(server, key.key)
    assert key.api_key.id not in {one.id for one in await listed(tenant.api)}
