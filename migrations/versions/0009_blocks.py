"""Blocks: users who have no follow from or to the one who blocked them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.create_table(
            "blocks",
            sa.Column("blocker_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("blocked_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
            sa.PrimaryKeyConstraint("blocker_id", "blocked_id", name="pk_blocks"),
        )
        op.create_index("ix_blocks_blocked_id", "blocks", ["blocked_id"])
        op.create_index("ix_blocks_blocker_id_created_at", "blocks", ["blocker_id", "created_at", "blocked_id"])


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.drop_table("blocks")
