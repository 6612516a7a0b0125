"""ApplicationService: the consumers of webhooks."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from octohooks import AsyncOctohooks
from octohooks.v1.application_pb2 import Application
from octohooks.v1.application_service_pb2 import (
    CreateApplicationRequest,
    DeleteApplicationRequest,
    GetApplicationRequest,
    ListApplicationsRequest,
    UpdateApplicationRequest,
)
from octohooks.v1.delivery_pb2 import CANCEL_REASON_APPLICATION_DELETED, DELIVERY_STATUS_CANCELLED
from octohooks_server.rules.ids import is_id

from tests.server.api.calls import Api
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEVER = "app_01ARZ3NDEKTSV4RRFFQ69G5FAV"
TIME = {"seconds": 1}

WRONG_VALUES = [
    pytest.param({"uid": "a customer"}, "uid", id="a UID with a space"),
    pytest.param({"uid": "ü"}, "uid", id="a UID beyond ASCII"),
    pytest.param({"uid": "a" * 257}, "uid", id="a UID of 257 characters"),
    pytest.param({"uid": "app_1"}, "uid", id="a UID that begins as an application's ID"),
    pytest.param({"uid": "ep_1"}, "uid", id="a UID that begins as an endpoint's ID"),
    pytest.param({"name": "n" * 257}, "name", id="a name of 257 characters"),
    pytest.param({"rate_limit": 100_001}, "rate_limit", id="more than 100,000 per second"),
    pytest.param({"metadata": {"k": "v" * 4090}}, "metadata", id="metadata above 4 KiB"),
]
OUTPUT_ONLY = [
    pytest.param({"id": NEVER}, "id", id="an ID"),
    pytest.param({"create_time": TIME}, "create_time", id="a creation time"),
    pytest.param({"update_time": TIME}, "update_time", id="a change time"),
]


async def made(api: Api, **values: Any) -> Application:
    request = CreateApplicationRequest(application=Application(**values))
    application = (await api(request)).application
    assert isinstance(application, Application)
    return application


async def test_an_application_is_created_with_all_that_is_given(api: Api) -> None:
    values: dict[str, Any] = {
        "uid": "acme",
        "name": "Acme",
        "rate_limit": 7,
        "metadata": {"plan": "gold"},
    }

    application = await made(api, **values)

    assert is_id(application.id, "app_")
    assert application.create_time == application.update_time
    expected = Application(
        **values,
        id=application.id,
        create_time=application.create_time,
        update_time=application.update_time,
    )
    assert application == expected
    answer = await api(GetApplicationRequest(application="acme"))
    assert answer.application == application


async def test_an_application_needs_nothing_at_all(api: Api) -> None:
    application = (await api(CreateApplicationRequest())).application

    answer = await api(GetApplicationRequest(application=application.id))
    assert answer.application == application
    assert not application.uid


async def test_limits_can_be_reached(api: Api) -> None:
    metadata = {"k": "v" * (4096 - len('{"k":""}'))}

    application = await made(
        api, uid="u" * 256, name="ñ" * 256, rate_limit=100_000, metadata=metadata
    )

    assert application.uid == "u" * 256
    assert application.name == "ñ" * 256
    assert application.metadata == metadata


@pytest.mark.parametrize(("values", "field"), [*WRONG_VALUES, *OUTPUT_ONLY])
async def test_creation_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str
) -> None:
    refusal = await api.refusal(CreateApplicationRequest(application=Application(**values)))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"application.{field}"]
    assert not (await api(ListApplicationsRequest())).applications


async def test_creation_names_every_wrong_field_at_once(api: Api) -> None:
    wrong = Application(uid=" ", name="n" * 257, rate_limit=100_001)

    refusal = await api.refusal(CreateApplicationRequest(application=wrong))

    assert refusal.fields == ["application.uid", "application.name", "application.rate_limit"]


async def test_a_uid_is_taken_once_only(api: Api) -> None:
    first = await made(api, uid="acme", name="first")

    refusal = await api.refusal(CreateApplicationRequest(application=Application(uid="acme")))

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("application", "acme")
    assert list((await api(ListApplicationsRequest())).applications) == [first]


async def test_uids_differ_by_case(api: Api) -> None:
    lower, upper = await made(api, uid="acme"), await made(api, uid="ACME")

    assert (await api(GetApplicationRequest(application="acme"))).application == lower
    assert (await api(GetApplicationRequest(application="ACME"))).application == upper


def shown(reference: str) -> str:
    """What an answer repeats of a reference: no more than any could have."""
    return reference if len(reference) <= 256 else reference[:256] + "…"


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(NEVER, id="an ID that names nothing"),
        pytest.param("nobody", id="a UID that names nothing"),
        pytest.param("x" * 5_000, id="a text too long for either"),
        pytest.param("' OR 1=1 --", id="a text that is neither"),
        pytest.param("ep_01ARZ3NDEKTSV4RRFFQ69G5FAV", id="an ID of another kind"),
    ],
)
@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(lambda it: GetApplicationRequest(application=it), id="get"),
        pytest.param(lambda it: DeleteApplicationRequest(application=it), id="delete"),
        pytest.param(
            lambda it: UpdateApplicationRequest(application=it, values=Application(name="x")),
            id="update",
        ),
    ],
)
async def test_what_names_nothing_is_not_found(api: Api, request_of: Any, reference: str) -> None:
    refusal = await api.refusal(request_of(reference))

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("application", shown(reference))


@pytest.mark.parametrize(
    "request_type",
    [GetApplicationRequest, DeleteApplicationRequest, UpdateApplicationRequest],
    ids=["get", "delete", "update"],
)
async def test_a_reference_is_required(api: Api, request_type: Any) -> None:
    refusal = await api.refusal(request_type())

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["application"]


async def test_lists_answer_the_oldest_first_page_by_page(api: Api) -> None:
    applications = [await made(api, name=f"{number}") for number in range(5)]

    first = await api(ListApplicationsRequest(page_size=2))
    second = await api(ListApplicationsRequest(page_size=2, page_token=first.next_page_token))
    # The size may change between pages.
    third = await api(ListApplicationsRequest(page_size=9, page_token=second.next_page_token))

    assert [*first.applications, *second.applications, *third.applications] == applications
    assert len(first.applications) == len(second.applications) == 2
    assert not third.next_page_token


async def test_a_page_that_holds_just_all_is_the_last(api: Api) -> None:
    await made(api)
    await made(api)

    assert not (await api(ListApplicationsRequest(page_size=2))).next_page_token


async def test_a_page_holds_50_unless_told_and_250_at_the_most(
    api: Api, octohooks: AsyncOctohooks
) -> None:
    for number in range(3):
        batch = [
            {
                "application": f"c{number}-{index}",
                "event_type": "e",
                "payload": "{}",
                "inline_application": {},
            }
            for index in range(84)
        ]
        await octohooks.message.create_batch(batch)  # type: ignore[arg-type]

    assert len((await api(ListApplicationsRequest())).applications) == 50
    assert len((await api(ListApplicationsRequest(page_size=1_000))).applications) == 250


async def test_a_negative_page_size_is_refused(api: Api) -> None:
    refusal = await api.refusal(ListApplicationsRequest(page_size=-1))

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["page_size"]


@pytest.mark.parametrize("by", ["id", "uid"])
async def test_an_update_changes_what_it_names_and_nothing_else(api: Api, by: str) -> None:
    before = await made(api, uid="acme", name="Acme", rate_limit=7, metadata={"plan": "gold"})
    values = Application(name="Acme Ltd", rate_limit=9)

    answer = await api(
        UpdateApplicationRequest(
            application=getattr(before, by), values=values, update_mask=FieldMask(paths=["name"])
        )
    )

    after = answer.application
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
    expected = Application()
    expected.CopyFrom(before)
    expected.name = "Acme Ltd"
    expected.update_time.CopyFrom(after.update_time)
    assert after == expected
    assert (await api(GetApplicationRequest(application=before.id))).application == after


async def test_a_uid_can_be_changed_and_cleared(api: Api) -> None:
    application = await made(api, uid="old")

    await api(UpdateApplicationRequest(application="old", values=Application(uid="new")))
    assert (await api.refusal(GetApplicationRequest(application="old"))).code == "NOT_FOUND"
    assert (await api(GetApplicationRequest(application="new"))).application.id == application.id

    await api(UpdateApplicationRequest(application="new", update_mask=FieldMask(paths=["uid"])))
    assert (await api.refusal(GetApplicationRequest(application="new"))).code == "NOT_FOUND"
    assert not (await api(GetApplicationRequest(application=application.id))).application.uid


async def test_an_update_may_name_the_uid_that_the_application_has(api: Api) -> None:
    await made(api, uid="acme")

    answer = await api(
        UpdateApplicationRequest(
            application="acme", values=Application(uid="acme", name="Acme"), allow_missing=True
        )
    )

    assert (answer.application.uid, answer.application.name) == ("acme", "Acme")


async def test_an_update_cannot_take_a_uid_from_another(api: Api) -> None:
    await made(api, uid="acme")
    other = await made(api, uid="other")

    refusal = await api.refusal(
        UpdateApplicationRequest(application="other", values=Application(uid="acme", name="x"))
    )

    assert refusal.cause == ("ALREADY_EXISTS", "UID_TAKEN")
    assert refusal.resource == ("application", "acme")
    assert (await api(GetApplicationRequest(application="other"))).application == other


@pytest.mark.parametrize(("values", "field"), WRONG_VALUES)
@pytest.mark.parametrize("allow_missing", [False, True], ids=["existing", "missing"])
async def test_an_update_refuses_and_names_the_field(
    api: Api, values: dict[str, Any], field: str, allow_missing: bool
) -> None:
    if not allow_missing:
        await made(api, uid="acme")
    before = (await api(ListApplicationsRequest())).applications

    refusal = await api.refusal(
        UpdateApplicationRequest(
            application="acme", values=Application(**values), allow_missing=allow_missing
        )
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {f"values.{field}"}
    assert (await api(ListApplicationsRequest())).applications == before


@pytest.mark.parametrize(("values", "field"), OUTPUT_ONLY)
async def test_an_update_refuses_output_only_fields_that_are_set(
    api: Api, values: dict[str, Any], field: str
) -> None:
    await made(api, uid="acme")

    refusal = await api.refusal(
        UpdateApplicationRequest(application="acme", values=Application(**values))
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == [f"values.{field}"]


async def test_an_update_makes_what_is_missing_where_it_may(api: Api) -> None:
    update = UpdateApplicationRequest(
        application="some-user",
        values=Application(name="Some User Application"),
        allow_missing=True,
    )

    first, again = (await api(update)).application, (await api(update)).application

    assert first.uid == "some-user"
    assert first.name == "Some User Application"
    assert again.id == first.id
    assert len((await api(ListApplicationsRequest())).applications) == 1


async def test_an_update_makes_nothing_for_an_id(api: Api) -> None:
    refusal = await api.refusal(
        UpdateApplicationRequest(
            application=NEVER, values=Application(name="x"), allow_missing=True
        )
    )

    assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("application", NEVER)


async def test_an_update_makes_nothing_for_what_cannot_be_a_uid(api: Api) -> None:
    refusal = await api.refusal(
        UpdateApplicationRequest(application="a customer", allow_missing=True)
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert "application" in refusal.fields


async def test_a_missing_application_gets_the_uid_that_was_asked_for(api: Api) -> None:
    refusal = await api.refusal(
        UpdateApplicationRequest(
            application="acme", values=Application(uid="other"), allow_missing=True
        )
    )

    assert refusal.cause == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == ["values.uid"]


async def test_a_deleted_application_is_gone_and_its_uid_free(api: Api) -> None:
    deleted = await made(api, uid="acme")

    await api(DeleteApplicationRequest(application="acme"))

    for reference in ("acme", deleted.id):
        refusal = await api.refusal(GetApplicationRequest(application=reference))
        assert refusal.cause == ("NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("application", reference)
    assert not (await api(ListApplicationsRequest())).applications
    assert (await api.refusal(DeleteApplicationRequest(application="acme"))).code == "NOT_FOUND"
    assert (await made(api, uid="acme")).id != deleted.id


async def test_deleting_an_application_cancels_what_is_pending(octohooks: AsyncOctohooks) -> None:
    await octohooks.application.create(uid="acme")
    await octohooks.endpoint.create(
        "acme", url="http://127.0.0.1:9/hook", retry_schedule=[3600], uid="slow"
    )
    sent = await octohooks.message.create("acme", event_type="e", payload={})

    await octohooks.application.delete("acme")

    async def cancelled() -> bool:
        (delivery,) = [one async for one in octohooks.delivery.list()]
        assert delivery.message == sent.id
        if delivery.status != DELIVERY_STATUS_CANCELLED:
            return False
        assert delivery.cancel_reason == CANCEL_REASON_APPLICATION_DELETED
        assert delivery.HasField("end_time")
        assert not delivery.HasField("next_attempt_time")
        return True

    await eventually(cancelled)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (GetApplicationRequest(application="a\0"), "application"),
        (CreateApplicationRequest(application=Application(name="a\0")), "application.name"),
    ],
    ids=["a reference", "a name"],
)
async def test_a_text_with_the_character_0_is_refused(
    api: Api, request_: Message, field: str
) -> None:
    """PostgreSQL could not hold it."""
    refusal = await api.refusal(request_)
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == [field]
