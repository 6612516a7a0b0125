"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ascii = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_prefix", _ascii, nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=False),
        sa.Column("application_id", _ascii, nullable=True),
        sa.Column("max_requests_per_second", sa.Integer(), nullable=False),
        sa.Column("max_watches", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_hash"),
    )
    op.create_index(
        "api_keys_by_application",
        "api_keys",
        ["application_id"],
        unique=False,
        sqlite_where=sa.text("application_id IS NOT NULL"),
        postgresql_where=sa.text("application_id IS NOT NULL"),
    )
    op.create_index("api_keys_by_environment", "api_keys", ["environment_id", "id"], unique=False)
    op.create_table(
        "applications",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("uid", _ascii, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate_limit", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.Unicode(), nullable=True),
        sa.Column("is_operational", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "applications_by_environment", "applications", ["environment_id", "id"], unique=False
    )
    op.create_index(
        "applications_by_uid",
        "applications",
        ["environment_id", "uid"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL AND uid IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NULL AND uid IS NOT NULL"),
    )
    op.create_index(
        "applications_deleted",
        "applications",
        ["id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "applications_operational",
        "applications",
        ["environment_id"],
        unique=True,
        sqlite_where=sa.text("is_operational"),
        postgresql_where=sa.text("is_operational"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("message_id", _ascii, nullable=False),
        sa.Column("event_type", _ascii, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("trigger", sa.SmallInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("response_status", sa.SmallInteger(), nullable=False),
        sa.Column("error_kind", sa.SmallInteger(), nullable=False),
        sa.Column("error_detail", sa.Text(), nullable=False),
        sa.Column("response_body_truncated", sa.Boolean(), nullable=False),
        sa.Column("delivery_status", sa.SmallInteger(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("response_headers", sa.Unicode(), nullable=True),
        sa.Column("response_body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("environment_id", "sequence", name="attempts_by_environment"),
    )
    op.create_index(
        "attempts_by_application", "attempts", ["application_id", "sequence"], unique=False
    )
    op.create_index("attempts_by_endpoint", "attempts", ["endpoint_id", "sequence"], unique=False)
    op.create_index("attempts_by_message", "attempts", ["message_id", "sequence"], unique=False)
    op.create_table(
        "audit_events",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("api_key_id", _ascii, nullable=True),
        sa.Column("api_key_name", sa.Text(), nullable=False),
        sa.Column("method", _ascii, nullable=False),
        sa.Column("resource_type", _ascii, nullable=False),
        sa.Column("resource", _ascii, nullable=False),
        sa.Column("application_id", _ascii, nullable=True),
        sa.Column("changed_fields", sa.Unicode(), nullable=True),
        sa.Column("request_id", _ascii, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "audit_events_by_environment", "audit_events", ["environment_id", "id"], unique=False
    )
    op.create_table(
        "cancellations",
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("message_id", _ascii, nullable=False),
        sa.Column("event_type", _ascii, nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("last_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("environment_id", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "cancellations_by_application",
        "cancellations",
        ["application_id", "sequence"],
        unique=False,
    )
    op.create_table(
        "deliveries",
        sa.Column("message_id", _ascii, nullable=False),
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("cancel_reason", sa.SmallInteger(), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("scheduled_count", sa.Integer(), nullable=False),
        sa.Column("manual_requests", sa.Integer(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("leased", sa.Boolean(), nullable=False),
        sa.Column("last_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "endpoint_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "deliveries_by_endpoint", "deliveries", ["endpoint_id", "message_id"], unique=False
    )
    op.create_index(
        "deliveries_due",
        "deliveries",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "deliveries_waiting",
        "deliveries",
        ["endpoint_id", "due_at"],
        unique=False,
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "endpoint_secrets",
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("signature_type", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("endpoint_id", "number"),
    )
    op.create_table(
        "endpoint_versions",
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("event_types", sa.Unicode(), nullable=True),
        sa.Column("channels", sa.Unicode(), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", "valid_from"),
    )
    op.create_table(
        "endpoints",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("uid", _ascii, nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", sa.Unicode(), nullable=True),
        sa.Column("channels", sa.Unicode(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("rate_limit", sa.Integer(), nullable=False),
        sa.Column("retry_schedule", sa.Unicode(), nullable=True),
        sa.Column("signature_type", sa.SmallInteger(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disable_reason", sa.SmallInteger(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("metadata", sa.Unicode(), nullable=True),
        sa.Column("retire_reason", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("endpoints_by_application", "endpoints", ["application_id", "id"], unique=False)
    op.create_index("endpoints_by_environment", "endpoints", ["environment_id", "id"], unique=False)
    op.create_index(
        "endpoints_by_uid",
        "endpoints",
        ["application_id", "uid"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL AND uid IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NULL AND uid IS NOT NULL"),
    )
    op.create_index(
        "endpoints_retiring",
        "endpoints",
        ["id"],
        unique=False,
        sqlite_where=sa.text("retire_reason <> 0"),
        postgresql_where=sa.text("retire_reason <> 0"),
    )
    op.create_table(
        "environments",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("retry_schedule", sa.Unicode(), nullable=True),
        sa.Column("payload_retention", sa.BigInteger(), nullable=True),
        sa.Column("default_signature_type", sa.SmallInteger(), nullable=False),
        sa.Column("enforce_schemas", sa.Boolean(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("cleaned_to", sa.BigInteger(), nullable=False),
        sa.Column("cleaned_recorded_at", sa.BigInteger(), nullable=True),
        sa.Column("purged_to", sa.BigInteger(), nullable=False),
        sa.Column("purged_recorded_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "event_types",
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("name", _ascii, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=True),
        sa.Column("examples", sa.Unicode(), nullable=True),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("metadata", sa.Unicode(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("environment_id", "name"),
    )
    op.create_table(
        "idempotent_answers",
        sa.Column("scope", _ascii, nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key_hash"),
    )
    op.create_index(
        "idempotent_answers_by_expiry", "idempotent_answers", ["expires_at"], unique=False
    )
    op.create_table(
        "instance",
        sa.Column("name", _ascii, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("endpoint_id", _ascii, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("position", _ascii, nullable=False),
        sa.Column("examined_count", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_count", sa.BigInteger(), nullable=False),
        sa.Column("payload_deleted_count", sa.BigInteger(), nullable=False),
        sa.Column("worked_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_finished", "jobs", ["finished_at"], unique=False)
    op.create_index(
        "jobs_running",
        "jobs",
        ["worked_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "messages",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("environment_id", _ascii, nullable=False),
        sa.Column("application_id", _ascii, nullable=False),
        sa.Column("uid", _ascii, nullable=True),
        sa.Column("event_type", _ascii, nullable=False),
        sa.Column("channels", sa.Unicode(), nullable=True),
        sa.Column("tags", sa.Unicode(), nullable=True),
        sa.Column("payload_retention", sa.BigInteger(), nullable=True),
        sa.Column("payload_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("addressed_to", _ascii, nullable=True),
        sa.Column("trace_parent", _ascii, nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("messages_by_application", "messages", ["application_id", "id"], unique=False)
    op.create_index("messages_by_environment", "messages", ["environment_id", "id"], unique=False)
    op.create_index(
        "messages_by_payload_expiry",
        "messages",
        ["payload_expires_at"],
        unique=False,
        sqlite_where=sa.text("payload IS NOT NULL"),
        postgresql_where=sa.text("payload IS NOT NULL"),
    )
    op.create_index(
        "messages_by_uid",
        "messages",
        ["application_id", "uid"],
        unique=True,
        sqlite_where=sa.text("uid IS NOT NULL"),
        postgresql_where=sa.text("uid IS NOT NULL"),
    )
    op.create_table(
        "rounds",
        sa.Column("name", _ascii, nullable=False),
        sa.Column("position", _ascii, nullable=False),
        sa.Column("begins_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "servers",
        sa.Column("id", _ascii, nullable=False),
        sa.Column("live_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "time_notes",
        sa.Column("name", _ascii, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ahead", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
