"""The tables. Migrations make them; this module is what the statements are written against."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from octohooks_server.store.columns import Ascii, Bytes, Json, Span, Spans, Tags, Time

metadata = MetaData()

# Facts about this database itself: the key that page tokens are signed with, which is sealed where
# there is an encryption key.
instance = Table(
    "instance",
    metadata,
    Column("name", Ascii, primary_key=True),
    Column("value", Bytes, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("name", Text, nullable=False),
    Column("retry_schedule", Spans),
    Column("payload_retention", Span),
    Column("default_signature_type", SmallInteger, nullable=False),
    Column("enforce_schemas", Boolean, nullable=False),
    # The number of the newest event of this environment. Raising it inside the transaction that
    # records events holds a row lock until the commit, so that events become visible in the order
    # of their numbers.
    Column("last_sequence", BigInteger, nullable=False),
    # When that event was recorded; the times of an environment's events never go back, although the
    # clocks of servers differ.
    Column("last_recorded_at", Time, nullable=False),
    # Up to which event all have been deleted, since history is kept no longer, and up to which some
    # have been, those of deleted applications; and when that event was recorded. No watch may begin
    # before one of these that it would have shown.
    Column("cleaned_to", BigInteger, nullable=False),
    Column("cleaned_recorded_at", Time),
    Column("purged_to", BigInteger, nullable=False),
    Column("purged_recorded_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("name", Text, nullable=False),
    Column("display_prefix", Ascii, nullable=False),
    Column("key_hash", Bytes, nullable=False, unique=True),
    # A value of octohooks.v1.ApiKeyRole, and the application of a key that is confined to one.
    Column("role", SmallInteger, nullable=False),
    Column("application_id", Ascii),
    # 0 where the server's own limits hold.
    Column("max_requests_per_second", Integer, nullable=False),
    Column("max_watches", Integer, nullable=False),
    Column("expires_at", Time),
    Column("last_used_at", Time),
    Column("created_at", Time, nullable=False),
    Index("api_keys_by_environment", "environment_id", "id"),
    Index(
        "api_keys_by_application",
        "application_id",
        sqlite_where=text("application_id IS NOT NULL"),
        postgresql_where=text("application_id IS NOT NULL"),
    ),
)

# Who changed what. An event outlives what it is about.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    # NULL for the operator.
    Column("api_key_id", Ascii),
    Column("api_key_name", Text, nullable=False),
    Column("method", Ascii, nullable=False),
    Column("resource_type", Ascii, nullable=False),
    Column("resource", Ascii, nullable=False),
    Column("application_id", Ascii),
    Column("changed_fields", Json),
    Column("request_id", Ascii, nullable=False),
    Column("peer", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Index("audit_events_by_environment", "environment_id", "id"),
)

applications = Table(
    "applications",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("uid", Ascii),
    Column("name", Text, nullable=False),
    Column("rate_limit", Integer, nullable=False),
    Column("metadata", Json),
    # The environment's own application, which its operational webhooks are the endpoints of.
    Column("is_operational", Boolean, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    Index("applications_by_environment", "environment_id", "id"),
    Index(
        "applications_deleted",
        "id",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
    Index(
        "applications_operational",
        "environment_id",
        unique=True,
        sqlite_where=text("is_operational"),
        postgresql_where=text("is_operational"),
    ),
    Index(
        "applications_by_uid",
        "environment_id",
        "uid",
        unique=True,
        sqlite_where=text("deleted_at IS NULL AND uid IS NOT NULL"),
        postgresql_where=text("deleted_at IS NULL AND uid IS NOT NULL"),
    ),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("application_id", Ascii, nullable=False),
    Column("uid", Ascii),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("event_types", Json),
    Column("channels", Json),
    # A JSON object, sealed where there is an encryption key; NULL when there are none.
    Column("headers", Text),
    Column("rate_limit", Integer, nullable=False),
    Column("retry_schedule", Spans),
    Column("signature_type", SmallInteger, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("disable_reason", SmallInteger, nullable=False),
    Column("failing_since", Time),
    Column("metadata", Json),
    # Why deliveries that still wait are to be cancelled, a CancelReason; 0 where none are.
    Column("retire_reason", SmallInteger, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("deleted_at", Time),
    Index("endpoints_by_application", "application_id", "id"),
    Index("endpoints_by_environment", "environment_id", "id"),
    Index(
        "endpoints_retiring",
        "id",
        sqlite_where=text("retire_reason <> 0"),
        postgresql_where=text("retire_reason <> 0"),
    ),
    Index(
        "endpoints_by_uid",
        "application_id",
        "uid",
        unique=True,
        sqlite_where=text("deleted_at IS NULL AND uid IS NOT NULL"),
        postgresql_where=text("deleted_at IS NULL AND uid IS NOT NULL"),
    ),
)

endpoint_secrets = Table(
    "endpoint_secrets",
    metadata,
    Column("endpoint_id", Ascii, primary_key=True),
    # Counts the secrets of an endpoint; the highest is the current one.
    Column("number", Integer, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    # Sealed where there is an encryption key.
    Column("secret", Text, nullable=False),
    Column("signature_type", SmallInteger, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
)

# What an endpoint's filters were from a time on, to explain where a message went.
endpoint_versions = Table(
    "endpoint_versions",
    metadata,
    Column("endpoint_id", Ascii, primary_key=True),
    Column("valid_from", Time, primary_key=True),
    Column("event_types", Json),
    Column("channels", Json),
    Column("disabled", Boolean, nullable=False),
)

event_types = Table(
    "event_types",
    metadata,
    Column("environment_id", Ascii, primary_key=True),
    Column("name", Ascii, primary_key=True),
    Column("description", Text, nullable=False),
    Column("schema", Text),
    Column("examples", Json),
    Column("archived", Boolean, nullable=False),
    Column("metadata", Json),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("application_id", Ascii, nullable=False),
    Column("uid", Ascii),
    Column("event_type", Ascii, nullable=False),
    Column("channels", Json),
    Column("tags", Tags),
    Column("payload_retention", Span),
    Column("payload_expires_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    # The only endpoint that the message is for; NULL for all but examples.
    Column("addressed_to", Ascii),
    # The trace that its attempts belong to, as a W3C `traceparent`; NULL where it has none.
    Column("trace_parent", Ascii),
    # NULL once it is deleted. The last column, so that reading the others skips it.
    Column("payload", Bytes),
    Index("messages_by_application", "application_id", "id"),
    Index("messages_by_environment", "environment_id", "id"),
    Index(
        "messages_by_uid",
        "application_id",
        "uid",
        unique=True,
        sqlite_where=text("uid IS NOT NULL"),
        postgresql_where=text("uid IS NOT NULL"),
    ),
    Index(
        "messages_by_payload_expiry",
        "payload_expires_at",
        sqlite_where=text("payload IS NOT NULL"),
        postgresql_where=text("payload IS NOT NULL"),
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("message_id", Ascii, primary_key=True),
    Column("endpoint_id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("application_id", Ascii, nullable=False),
    # Values of octohooks.v1.DeliveryStatus and CancelReason.
    Column("status", SmallInteger, nullable=False),
    Column("cancel_reason", SmallInteger, nullable=False),
    # Raised by every claim; a result is only recorded by the claim that it belongs to.
    Column("claim", Integer, nullable=False),
    # Attempts that were recorded, and how many of these the schedule set going.
    Column("attempt_count", Integer, nullable=False),
    Column("scheduled_count", Integer, nullable=False),
    # How many attempts callers asked for that have not been recorded yet. They use up no step of
    # the schedule, and the delivery's status does not depend on their failure.
    Column("manual_requests", Integer, nullable=False),
    # When the schedule's next attempt is due; NULL when none is to follow.
    Column("scheduled_at", Time),
    # When the next attempt of either kind is due; while `leased`, when the claim ends; NULL when no
    # attempt is to follow. Nothing else decides what is claimed.
    Column("due_at", Time),
    # Whether a claim is at work on it.
    Column("leased", Boolean, nullable=False),
    Column("last_attempt_at", Time),
    Column("created_at", Time, nullable=False),
    Column("ended_at", Time),
    Index("deliveries_by_endpoint", "endpoint_id", "message_id"),
    Index(
        "deliveries_waiting",
        "endpoint_id",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "deliveries_due",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("application_id", Ascii, nullable=False),
    Column("endpoint_id", Ascii, nullable=False),
    Column("message_id", Ascii, nullable=False),
    Column("event_type", Ascii, nullable=False),
    Column("number", Integer, nullable=False),
    Column("trigger", SmallInteger, nullable=False),
    Column("url", Text, nullable=False),
    Column("started_at", Time, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Column("duration", Span, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("response_status", SmallInteger, nullable=False),
    Column("error_kind", SmallInteger, nullable=False),
    Column("error_detail", Text, nullable=False),
    Column("response_body_truncated", Boolean, nullable=False),
    Column("delivery_status", SmallInteger, nullable=False),
    Column("next_attempt_at", Time),
    Column("response_headers", Json),
    Column("response_body", Bytes),
    UniqueConstraint("environment_id", "sequence", name="attempts_by_environment"),
    Index("attempts_by_application", "application_id", "sequence"),
    Index("attempts_by_endpoint", "endpoint_id", "sequence"),
    Index("attempts_by_message", "message_id", "sequence"),
)

# The deliveries that ended without an attempt, as events in the order of the attempts.
cancellations = Table(
    "cancellations",
    metadata,
    Column("environment_id", Ascii, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("application_id", Ascii, nullable=False),
    Column("endpoint_id", Ascii, nullable=False),
    Column("message_id", Ascii, nullable=False),
    Column("event_type", Ascii, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("last_attempt_at", Time),
    Column("created_at", Time, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Index("cancellations_by_application", "application_id", "sequence"),
    sqlite_with_rowid=False,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("environment_id", Ascii, nullable=False),
    Column("application_id", Ascii, nullable=False),
    Column("endpoint_id", Ascii, nullable=False),
    # Values of octohooks.v1.JobKind and JobState.
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("since", Time, nullable=False),
    Column("until", Time, nullable=False),
    # The ID of the last message that was looked at.
    Column("position", Ascii, nullable=False),
    Column("examined_count", BigInteger, nullable=False),
    Column("scheduled_count", BigInteger, nullable=False),
    Column("payload_deleted_count", BigInteger, nullable=False),
    # When it was last worked on, so that jobs take turns.
    Column("worked_at", Time, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("finished_at", Time),
    Index(
        "jobs_running",
        "worked_at",
        sqlite_where=text("finished_at IS NULL"),
        postgresql_where=text("finished_at IS NULL"),
    ),
    Index("jobs_finished", "finished_at"),
)

# Answers to creates that carried an idempotency key. `scope` is an environment's ID, or `operator`.
idempotent_answers = Table(
    "idempotent_answers",
    metadata,
    Column("scope", Ascii, primary_key=True),
    Column("key_hash", Bytes, primary_key=True),
    Column("request_hash", Bytes, nullable=False),
    Column("answer", Bytes),
    Column("expires_at", Time, nullable=False),
    Index("idempotent_answers_by_expiry", "expires_at"),
)

# How far work has come that goes through IDs in their order, round by round.
rounds = Table(
    "rounds",
    metadata,
    Column("name", Ascii, primary_key=True),
    # The last ID of this round; empty at its beginning.
    Column("position", Ascii, nullable=False),
    Column("begins_at", Time, nullable=False),
)

# The servers that deliver, which share the rate limits.
servers = Table(
    "servers",
    metadata,
    Column("id", Ascii, primary_key=True),
    Column("live_until", Time, nullable=False),
)

# Deliveries that were accepted as claimed by whichever server deletes the row that lists them.
hand_overs = Table(
    "hand_overs",
    metadata,
    # Sorts by time.
    Column("first_message_id", Ascii, primary_key=True),
    Column("left_at", Time, nullable=False),
    Column("lease_ends_at", Time, nullable=False),
    # Message IDs by endpoint ID by environment ID.
    Column("messages", Json, nullable=False),
)

# By how much the database's clock is ahead of the time that servers share (`rules.shared_time`), in
# the one row that there is.
time_notes = Table(
    "time_notes",
    metadata,
    Column("name", Ascii, primary_key=True),
    Column("seen_at", Time, nullable=False),
    Column("ahead", Span, nullable=False),
)
