"""Each command asks the server for what it says, and for nothing else."""

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from octohooks.calls import SERVICES
from octohooks.v1 import (
    api_key_service_pb2,
    application_service_pb2,
    attempt_service_pb2,
    audit_service_pb2,
    endpoint_service_pb2,
    environment_service_pb2,
    event_type_service_pb2,
    job_service_pb2,
    message_service_pb2,
    operational_webhook_service_pb2,
)
from octohooks.v1.api_key_pb2 import API_KEY_ROLE_APPLICATION
from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_FAILED
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_FAILED, DELIVERY_STATUS_PENDING
from octohooks.v1.endpoint_pb2 import SIGNATURE_TYPE_ED25519, SIGNATURE_TYPE_HMAC_SHA256
from octohooks.v1.retry_schedule_pb2 import RetrySchedule

from tests.cli.conftest import Run
from tests.cli.messages import made
from tests.sdk.fake_server import FakeServer

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
RANGE = "--since 2026-01-01T00:00Z --until 2026-02-01T00:00Z"
FILTERS = (
    "--event-type e --event-type f --channel c --tag k=v"
    " --after 2026-01-01T00:00Z --before 2026-02-01T00:00Z"
)
FILTERED: dict[str, Any] = {
    "event_types": ["e", "f"],
    "channels": ["c"],
    "tags": {"k": "v"},
    "after": JANUARY,
    "before": FEBRUARY,
}
SCHEDULE = made(RetrySchedule, steps=[timedelta(0), timedelta(seconds=5), timedelta(minutes=5)])
# One more than is shown.
PAGE = {"page_size": 51}

CASES: list[tuple[str, Message]] = [
    (
        "environment create Staging --retry-schedule 0s,5s,5m --payload-retention 30d"
        " --signature-type ed25519 --enforce-schemas",
        made(
            environment_service_pb2.CreateEnvironmentRequest,
            environment={
                "name": "Staging",
                "retry_schedule": SCHEDULE,
                "payload_retention": timedelta(days=30),
                "default_signature_type": SIGNATURE_TYPE_ED25519,
                "enforce_schemas": True,
            },
        ),
    ),
    (
        "environment get env_1",
        made(environment_service_pb2.GetEnvironmentRequest, environment="env_1"),
    ),
    ("environment list", made(environment_service_pb2.ListEnvironmentsRequest, **PAGE)),
    (
        "environment update env_1 --name Other --no-enforce-schemas",
        made(
            environment_service_pb2.UpdateEnvironmentRequest,
            environment="env_1",
            values={"name": "Other", "enforce_schemas": False},
            update_mask=FieldMask(paths=["name", "enforce_schemas"]),
        ),
    ),
    (
        "environment update env_1 --retry-schedule default --payload-retention default",
        made(
            environment_service_pb2.UpdateEnvironmentRequest,
            environment="env_1",
            values={},
            update_mask=FieldMask(paths=["retry_schedule", "payload_retention"]),
        ),
    ),
    (
        "environment delete env_1",
        made(environment_service_pb2.DeleteEnvironmentRequest, environment="env_1"),
    ),
    (
        "api-key create --environment env_1 --name billing --expires 2026-02-01T00:00Z",
        made(
            api_key_service_pb2.CreateApiKeyRequest,
            environment="env_1",
            api_key={"name": "billing", "expire_time": FEBRUARY},
        ),
    ),
    ("api-key create", made(api_key_service_pb2.CreateApiKeyRequest, api_key={})),
    (
        "api-key create --role application --application u --max-requests-per-second 20"
        " --max-watches 3",
        made(
            api_key_service_pb2.CreateApiKeyRequest,
            api_key={
                "role": API_KEY_ROLE_APPLICATION,
                "application": "u",
                "max_requests_per_second": 20,
                "max_watches": 3,
            },
        ),
    ),
    ("audit list", made(audit_service_pb2.ListAuditEventsRequest, **PAGE)),
    (
        "audit list --environment env_1 --actor operator --method UpdateEndpoint --resource ep_1"
        " --after 2026-02-01T00:00Z --before 2026-02-01T00:00Z --limit 6",
        made(
            audit_service_pb2.ListAuditEventsRequest,
            environment="env_1",
            actor="operator",
            methods=["UpdateEndpoint"],
            resource="ep_1",
            after=FEBRUARY,
            before=FEBRUARY,
            page_size=7,
        ),
    ),
    (
        "api-key list --environment env_1",
        made(api_key_service_pb2.ListApiKeysRequest, environment="env_1", **PAGE),
    ),
    (
        "api-key rotate key_1 --overlap 24h",
        made(api_key_service_pb2.RotateApiKeyRequest, api_key="key_1", overlap=timedelta(days=1)),
    ),
    ("api-key revoke key_1", made(api_key_service_pb2.RevokeApiKeyRequest, api_key="key_1")),
    (
        "application create --uid some-user --name 'Some User' --rate-limit 5"
        " --metadata plan=gold --metadata formula=a=b",
        made(
            application_service_pb2.CreateApplicationRequest,
            application={
                "uid": "some-user",
                "name": "Some User",
                "rate_limit": 5,
                "metadata": {"plan": "gold", "formula": "a=b"},
            },
        ),
    ),
    (
        "application get some-user",
        made(application_service_pb2.GetApplicationRequest, application="some-user"),
    ),
    ("application list", made(application_service_pb2.ListApplicationsRequest, **PAGE)),
    (
        "application list --limit 0",
        made(application_service_pb2.ListApplicationsRequest, page_size=250),
    ),
    (
        "application list --limit 1000",
        made(application_service_pb2.ListApplicationsRequest, page_size=250),
    ),
    (
        "application update some-user --name ''  --metadata ''",
        made(
            application_service_pb2.UpdateApplicationRequest,
            application="some-user",
            values={},
            update_mask=FieldMask(paths=["name", "metadata"]),
            allow_missing=True,
        ),
    ),
    (
        "application update some-user --rate-limit 0 --no-allow-missing",
        made(
            application_service_pb2.UpdateApplicationRequest,
            application="some-user",
            values={},
            update_mask=FieldMask(paths=["rate_limit"]),
        ),
    ),
    (
        "application delete some-user",
        made(application_service_pb2.DeleteApplicationRequest, application="some-user"),
    ),
    (
        "endpoint create some-user --url https://example.com --uid hook --description d"
        " --event-type e --event-type f --channel c --header X-A=1 --rate-limit 5"
        " --retry-schedule 0s,5s,5m --signature-type hmac_sha256 --secret whsec_x --disabled"
        " --metadata k=v",
        made(
            endpoint_service_pb2.CreateEndpointRequest,
            application="some-user",
            endpoint={
                "url": "https://example.com",
                "uid": "hook",
                "description": "d",
                "event_types": ["e", "f"],
                "channels": ["c"],
                "headers": {"X-A": "1"},
                "rate_limit": 5,
                "retry_schedule": SCHEDULE,
                "signature_type": SIGNATURE_TYPE_HMAC_SHA256,
                "disabled": True,
                "metadata": {"k": "v"},
            },
            secret="whsec_x",
        ),
    ),
    (
        "endpoint get some-user hook",
        made(endpoint_service_pb2.GetEndpointRequest, application="some-user", endpoint="hook"),
    ),
    (
        "endpoint list some-user",
        made(endpoint_service_pb2.ListEndpointsRequest, application="some-user", **PAGE),
    ),
    (
        "endpoint update some-user hook --enabled --event-type '' --header '' --url http://x"
        " --allow-missing",
        made(
            endpoint_service_pb2.UpdateEndpointRequest,
            application="some-user",
            endpoint="hook",
            values={"url": "http://x"},
            update_mask=FieldMask(paths=["url", "event_types", "headers", "disabled"]),
            allow_missing=True,
        ),
    ),
    (
        "endpoint delete some-user hook",
        made(endpoint_service_pb2.DeleteEndpointRequest, application="some-user", endpoint="hook"),
    ),
    (
        "endpoint secret some-user hook",
        made(
            endpoint_service_pb2.GetEndpointSecretRequest, application="some-user", endpoint="hook"
        ),
    ),
    (
        "endpoint rotate-secret some-user hook --secret whsec_x --overlap 0",
        made(
            endpoint_service_pb2.RotateEndpointSecretRequest,
            application="some-user",
            endpoint="hook",
            secret="whsec_x",
            overlap=timedelta(0),
        ),
    ),
    (
        "endpoint stats some-user hook --after 2026-01-01T00:00Z --before 2026-02-01T00:00Z",
        made(
            endpoint_service_pb2.GetEndpointStatsRequest,
            application="some-user",
            endpoint="hook",
            after=JANUARY,
            before=FEBRUARY,
        ),
    ),
    (
        f"endpoint recover some-user hook {RANGE}",
        made(
            endpoint_service_pb2.RecoverEndpointRequest,
            application="some-user",
            endpoint="hook",
            since=JANUARY,
            until=FEBRUARY,
        ),
    ),
    (
        f"endpoint replay some-user hook {RANGE}",
        made(
            endpoint_service_pb2.ReplayEndpointRequest,
            application="some-user",
            endpoint="hook",
            since=JANUARY,
            until=FEBRUARY,
        ),
    ),
    (
        "endpoint send-example some-user hook --event-type invoice.paid",
        made(
            endpoint_service_pb2.SendExampleRequest,
            application="some-user",
            endpoint="hook",
            event_type="invoice.paid",
        ),
    ),
    (
        "event-type create invoice.paid --description d --schema '{}' --example 1 --example 2"
        " --metadata k=v",
        made(
            event_type_service_pb2.CreateEventTypeRequest,
            event_type={
                "name": "invoice.paid",
                "description": "d",
                "schema": "{}",
                "examples": ["1", "2"],
                "metadata": {"k": "v"},
            },
        ),
    ),
    (
        "event-type get invoice.paid",
        made(event_type_service_pb2.GetEventTypeRequest, event_type="invoice.paid"),
    ),
    (
        "event-type list --include-archived",
        made(event_type_service_pb2.ListEventTypesRequest, include_archived=True, **PAGE),
    ),
    (
        "event-type update invoice.paid --schema '' --example '' --not-archived --allow-missing",
        made(
            event_type_service_pb2.UpdateEventTypeRequest,
            event_type="invoice.paid",
            values={},
            update_mask=FieldMask(paths=["schema", "examples", "archived"]),
            allow_missing=True,
        ),
    ),
    (
        "event-type archive invoice.paid",
        made(event_type_service_pb2.ArchiveEventTypeRequest, event_type="invoice.paid"),
    ),
    (
        "event-type delete invoice.paid",
        made(event_type_service_pb2.DeleteEventTypeRequest, event_type="invoice.paid"),
    ),
    (
        "event-type import-openapi - --dry-run",
        made(event_type_service_pb2.ImportOpenApiRequest, document="from stdin", dry_run=True),
    ),
    (
        """message create some-user --event-type invoice.paid --payload '{"id": 1.0}' --uid u"""
        " --channel c --tag k=v --payload-retention 5d --create-application",
        made(
            message_service_pb2.CreateMessageRequest,
            application="some-user",
            message={
                "event_type": "invoice.paid",
                "payload": b'{"id": 1.0}',
                "uid": "u",
                "channels": ["c"],
                "tags": {"k": "v"},
                "payload_retention": timedelta(days=5),
            },
            inline_application={"uid": "some-user"},
        ),
    ),
    (
        "message create some-user --event-type invoice.paid --payload -",
        made(
            message_service_pb2.CreateMessageRequest,
            application="some-user",
            message={"event_type": "invoice.paid", "payload": b"from stdin"},
        ),
    ),
    (
        "message get some-user msg_1",
        made(message_service_pb2.GetMessageRequest, application="some-user", message="msg_1"),
    ),
    (
        f"message list some-user {FILTERS}",
        made(message_service_pb2.ListMessagesRequest, application="some-user", **PAGE, **FILTERED),
    ),
    (
        "message explain some-user msg_1",
        made(
            message_service_pb2.ExplainMessageRequest,
            application="some-user",
            message="msg_1",
            **PAGE,
        ),
    ),
    (
        "message delete-payload some-user msg_1",
        made(
            message_service_pb2.DeleteMessagePayloadRequest,
            application="some-user",
            message="msg_1",
        ),
    ),
    (
        "delivery list --application some-user --message m --endpoint ep --status pending"
        f" --status failed {FILTERS}",
        made(
            attempt_service_pb2.ListDeliveriesRequest,
            application="some-user",
            message="m",
            endpoint="ep",
            statuses=[DELIVERY_STATUS_PENDING, DELIVERY_STATUS_FAILED],
            **PAGE,
            **FILTERED,
        ),
    ),
    (
        "delivery get m ep --application some-user",
        made(
            attempt_service_pb2.GetDeliveryRequest,
            application="some-user",
            message="m",
            endpoint="ep",
        ),
    ),
    (
        "delivery resend m ep",
        made(attempt_service_pb2.ResendDeliveryRequest, message="m", endpoint="ep"),
    ),
    (
        f"attempt list --application some-user --message m --endpoint ep --failed {FILTERS}",
        made(
            attempt_service_pb2.ListAttemptsRequest,
            application="some-user",
            message="m",
            endpoint="ep",
            outcomes=[ATTEMPT_OUTCOME_FAILED],
            **PAGE,
            **FILTERED,
        ),
    ),
    ("attempt list", made(attempt_service_pb2.ListAttemptsRequest, **PAGE)),
    ("attempt get atmpt_1", made(attempt_service_pb2.GetAttemptRequest, attempt="atmpt_1")),
    (
        "operational-webhook create --url http://x --uid u --description d"
        " --event-type endpoint.disabled --header A=1 --signature-type ed25519 --secret whsk_x"
        " --enabled",
        made(
            operational_webhook_service_pb2.CreateOperationalWebhookRequest,
            operational_webhook={
                "url": "http://x",
                "uid": "u",
                "description": "d",
                "event_types": ["endpoint.disabled"],
                "headers": {"A": "1"},
                "signature_type": SIGNATURE_TYPE_ED25519,
            },
            secret="whsk_x",
        ),
    ),
    (
        "operational-webhook get u",
        made(operational_webhook_service_pb2.GetOperationalWebhookRequest, operational_webhook="u"),
    ),
    (
        "operational-webhook list",
        made(operational_webhook_service_pb2.ListOperationalWebhooksRequest, **PAGE),
    ),
    (
        "operational-webhook update u --disabled --description ''",
        made(
            operational_webhook_service_pb2.UpdateOperationalWebhookRequest,
            operational_webhook="u",
            values={"disabled": True},
            update_mask=FieldMask(paths=["description", "disabled"]),
        ),
    ),
    (
        "operational-webhook delete u",
        made(
            operational_webhook_service_pb2.DeleteOperationalWebhookRequest, operational_webhook="u"
        ),
    ),
    (
        "operational-webhook secret u",
        made(
            operational_webhook_service_pb2.GetOperationalWebhookSecretRequest,
            operational_webhook="u",
        ),
    ),
    ("job get job_1", made(job_service_pb2.GetJobRequest, job="job_1")),
]

# `watch` has tests of its own; the others are for programs.
NOT_HERE = {"WatchAttempts", "BatchCreateMessages", "PublishMessages"}


@pytest.mark.parametrize(("line", "request_"), CASES, ids=[line for line, _ in CASES])
def test_a_command_asks_for_what_its_options_say(
    run: Run, server: FakeServer, line: str, request_: Message
) -> None:
    result = run(*shlex.split(line), input="from stdin")
    assert result.exit_code == 0, result.output
    assert [received.request for received in server.received] == [request_]


def test_every_operation_of_the_contract_has_a_command() -> None:
    reached = {type(request).DESCRIPTOR.full_name for _, request in CASES}
    methods = [method for service in SERVICES for method in service.methods]
    assert [
        method.name
        for method in methods
        if method.input_type.full_name not in reached and method.name not in NOT_HERE
    ] == []


def test_a_document_can_come_from_a_file(run: Run, server: FakeServer, tmp_path: Path) -> None:
    document = tmp_path / "payload.json"
    document.write_bytes(b'{"id": 1}\n')
    run("message", "create", "a", "--event-type", "e", "--payload", f"@{document}")
    run("event-type", "import-openapi", str(document))
    create, import_ = [received.request for received in server.received]
    assert create.message.payload == b'{"id": 1}\n'
    assert import_.document == '{"id": 1}\n'


def test_a_file_that_is_missing_is_an_error_of_usage(run: Run, tmp_path: Path) -> None:
    result = run("event-type", "import-openapi", str(tmp_path / "missing.yaml"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_a_duration_as_a_start_means_so_long_ago(run: Run, server: FakeServer) -> None:
    before = datetime.now(UTC)
    run("endpoint", "recover", "a", "ep", "--since", "1h")
    after = datetime.now(UTC)
    (request,) = server.requests("RecoverEndpoint")
    since = request.since.ToDatetime(tzinfo=UTC)
    assert before <= since + timedelta(hours=1) <= after


def test_a_duration_as_an_end_means_so_long_from_now(run: Run, server: FakeServer) -> None:
    before = datetime.now(UTC)
    run("api-key", "create", "--expires", "30d")
    after = datetime.now(UTC)
    (request,) = server.requests("CreateApiKey")
    expires = request.api_key.expire_time.ToDatetime(tzinfo=UTC)
    assert before <= expires - timedelta(days=30) <= after


def test_a_message_can_carry_the_callers_idempotency_key(run: Run, server: FakeServer) -> None:
    run(
        *shlex.split("message create a --event-type e --payload 1 --idempotency-key mine"),
    )
    (received,) = server.received
    assert received.metadata["idempotency-key"] == "mine"


def test_a_limit_shows_the_first_and_says_that_there_are_more(run: Run, server: FakeServer) -> None:
    def page(request: Any, context: object) -> Message:
        start = int(request.page_token or 0)
        return made(
            application_service_pb2.ListApplicationsResponse,
            applications=[{"id": f"app_{start + n}"} for n in range(2)],
            next_page_token=str(start + 2),
        )

    server.on("ListApplications", page)
    result = run("application", "list", "--limit", "3")
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "id",
        "app_0",
        "app_1",
        "app_2",
    ]
    assert result.stderr == "The first 3 are shown; --limit 0 shows all.\n"


def test_a_limit_that_holds_all_says_nothing(run: Run, server: FakeServer) -> None:
    server.on(
        "ListApplications",
        lambda request, context: made(
            application_service_pb2.ListApplicationsResponse, applications=[{"id": "app_1"}]
        ),
    )
    assert run("application", "list", "--limit", "1").stderr == ""


def test_no_limit_shows_every_page(run: Run, server: FakeServer) -> None:
    def page(request: Any, context: object) -> Message:
        number = int(request.page_token or 0)
        return made(
            application_service_pb2.ListApplicationsResponse,
            applications=[{"id": f"app_{number}"}],
            next_page_token=str(number + 1) if number < 4 else "",
        )

    server.on("ListApplications", page)
    result = run("application", "list", "--limit", "0", "--json")
    assert len(result.stdout.splitlines()) == 5


def test_an_import_tells_what_became_of_each_event_type(run: Run, server: FakeServer) -> None:
    server.on(
        "ImportOpenApi",
        lambda request, context: made(
            event_type_service_pb2.ImportOpenApiResponse,
            created=[{"name": "a"}],
            updated=[{"name": "b"}],
            unchanged=["c"],
        ),
    )
    result = run("event-type", "import-openapi", "-", input="{}")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["name", "outcome"],
        ["a", "created"],
        ["b", "updated"],
        ["c", "unchanged"],
    ]


def test_an_explanation_tells_the_rule_for_each_endpoint(run: Run, server: FakeServer) -> None:
    server.on(
        "ExplainMessage",
        lambda request, context: made(
            message_service_pb2.ExplainMessageResponse,
            explanations=[
                {
                    "endpoint": "ep_1",
                    "rule": message_service_pb2.ROUTING_RULE_MATCHED,
                    "delivery": {"status": DELIVERY_STATUS_PENDING, "attempt_count": 2},
                },
                {"endpoint": "ep_2", "rule": message_service_pb2.ROUTING_RULE_EVENT_TYPE},
            ],
        ),
    )
    _, first, second = run("message", "explain", "a", "m").stdout.splitlines()
    assert first.split() == ["ep_1", "matched", "pending", "2"]
    assert second.split() == ["ep_2", "event_type"]


def test_a_new_key_is_shown_with_the_warning_that_it_is_shown_once(
    run: Run, server: FakeServer
) -> None:
    server.on(
        "CreateApiKey",
        lambda request, context: made(
            api_key_service_pb2.CreateApiKeyResponse, api_key={"id": "key_1"}, key="the-key"
        ),
    )
    result = run("api-key", "create")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["api", "key", "id", "key_1"],
        ["key", "the-key"],
    ]
    assert "never shown again" in result.stderr


def test_what_has_no_result_says_that_it_is_done(run: Run) -> None:
    assert run("application", "delete", "some-user").stdout == "deleted some-user\n"
    assert run("application", "delete", "some-user", "--json").output == ""
