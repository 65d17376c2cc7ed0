"""Suspended accounts: since when, and whose posts are in no feed."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The follows that feeds are made of. Lists and counts of follows go on reading the table.
EFFECTIVE_FOLLOWS = """
CREATE VIEW effective_follows AS
SELECT follower_id, followee_id, created_at FROM follows
WHERE NOT EXISTS (SELECT FROM suspended_users WHERE user_id = followee_id)
"""


def upgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.add_column("users", sa.Column("suspended_at", sa.DateTime(timezone=True)))
    if engine_name == "posts":
        op.create_table(
            "suspended_users",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.PrimaryKeyConstraint("user_id", name="pk_suspended_users"),
        )
        op.execute(EFFECTIVE_FOLLOWS)


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("DROP VIEW effective_follows")
        op.drop_table("suspended_users")
    if engine_name == "users":
        op.drop_column("users", "suspended_at")
