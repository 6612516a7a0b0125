"""A database that has been in use for a while: messages that were delivered at the first attempt.

Written by SQL, since a million calls would take longer than what is to be measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from octohooks.v1.attempt_pb2 import ATTEMPT_OUTCOME_SUCCEEDED, ATTEMPT_TRIGGER_SCHEDULED
from octohooks.v1.delivery_pb2 import DELIVERY_STATUS_SUCCEEDED

_COLUMNS = {
    "messages": (
        "id, environment_id, application_id, event_type, payload_expires_at, created_at, payload"
    ),
    "deliveries": (
        "message_id, endpoint_id, environment_id, application_id, status, cancel_reason, claim,"
        " attempt_count, scheduled_count, manual_requests, leased, last_attempt_at, created_at,"
        " ended_at"
    ),
    "attempts": (
        "id, environment_id, sequence, application_id, endpoint_id, message_id, event_type,"
        " number, trigger, url, started_at, recorded_at, duration, outcome, response_status,"
        " error_kind, error_detail, response_body_truncated, delivery_status"
    ),
}
_DAY = 24 * 3600 * 1_000_000
# A message a millisecond, the last of them a day ago; times are microseconds.
_CREATED_AT = f"(:now - {_DAY} - (:rows - n) * 1000)"
_VALUES = {
    "messages": (
        f":message_id, :environment, application_id, 'invoice.paid', {_CREATED_AT} + 90 * {_DAY},"
        f" {_CREATED_AT}, :payload"
    ),
    "deliveries": (
        f":message_id, endpoint_id, :environment, application_id, {DELIVERY_STATUS_SUCCEEDED}, 0,"
        f" 1, 1, 1, 0, FALSE, {_CREATED_AT}, {_CREATED_AT}, {_CREATED_AT}"
    ),
    "attempts": (
        f":attempt_id, :environment, n, application_id, endpoint_id, :message_id, 'invoice.paid',"
        f" 1, {ATTEMPT_TRIGGER_SCHEDULED}, 'http://127.0.0.1/', {_CREATED_AT}, {_CREATED_AT}, 5000,"
        f" {ATTEMPT_OUTCOME_SUCCEEDED}, 200, 0, '', FALSE, {DELIVERY_STATUS_SUCCEEDED}"
    ),
}
_PAYLOAD = b'{"invoice":"in_1","amount":4200,"currency":"eur","customer":"some-user"}'


@dataclass(frozen=True, slots=True)
class History:
    """What is to be there beforehand: rows of one environment, spread over its endpoints."""

    environment_id: str
    # (application ID, endpoint ID); they take turns.
    endpoints: Sequence[tuple[str, str]]
    # How many messages, and as many deliveries and attempts.
    rows: int


def statements(history: History, *, now: int, dialect: str) -> list[str]:
    """The SQL that writes it, for `sqlite` or `postgresql`; `now` in microseconds.

    It may be written once into an environment without events.
    """
    numbers = {
        "sqlite": (
            "WITH RECURSIVE numbers(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {history.rows})"
        ),
        "postgresql": (
            f"WITH numbers AS (SELECT n FROM generate_series(1, {history.rows}) AS s(n))"
        ),
    }[dialect]
    # IDs sort by time, and those of now begin later in the alphabet than these.
    padded = {"sqlite": "printf('%022d', n)", "postgresql": "lpad(n::text, 22, '0')"}[dialect]
    payload = {"sqlite": f"x'{_PAYLOAD.hex()}'", "postgresql": f"'\\x{_PAYLOAD.hex()}'::bytea"}
    values = {
        ":message_id": f"'msg_01AA' || {padded}",
        ":attempt_id": f"'atmpt_01AA' || {padded}",
        ":environment": f"'{history.environment_id}'",
        ":payload": payload[dialect],
        ":rows": str(history.rows),
        ":now": str(now),
    }
    turns = ", ".join(
        f"({turn}, '{application}', '{endpoint}')"
        for turn, (application, endpoint) in enumerate(history.endpoints)
    )
    made = []
    for table, columns in _COLUMNS.items():
        selected = _VALUES[table]
        for name, value in values.items():
            selected = selected.replace(name, value)
        made.append(
            f"INSERT INTO {table} ({columns})"
            f" {numbers}, turns(turn, application_id, endpoint_id) AS (VALUES {turns})"
            f" SELECT {selected} FROM numbers JOIN turns ON turn = n % {len(history.endpoints)}"
            " ORDER BY n"
        )
    made.append(
        f"UPDATE environments SET last_sequence = {history.rows}"
        f" WHERE id = '{history.environment_id}'"
    )
    return made
