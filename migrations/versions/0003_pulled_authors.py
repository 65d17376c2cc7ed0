"""Adds the table of pulled authors and their transitions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.create_table(
            "pulled_authors",
            sa.Column("author_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("state", sa.Text(), nullable=False),
            sa.Column("turn", sa.BigInteger(), sa.Identity(always=True), nullable=False),
            sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
            sa.PrimaryKeyConstraint("author_id", name="pk_pulled_authors"),
        )


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.drop_table("pulled_authors")
