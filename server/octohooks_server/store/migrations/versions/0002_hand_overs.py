"""Deliveries that the accepting server claims for another one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ascii = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "hand_overs",
        sa.Column("first_message_id", _ascii, nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_ends_at", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.Unicode(), nullable=False),
        sa.PrimaryKeyConstraint("first_message_id"),
    )
