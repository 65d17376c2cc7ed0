"""Users who are gone; posts whose deletion has not been fanned out."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The lock is shared among all writes by and about a user, and exclusive for the deletion of the account. Each statement
# of a function takes a new snapshot, so after the wait for the lock it sees what the holder has committed. Positive
# keys are authors' (app/feed/hybrid/policy.py).
HOLD_USER = """
CREATE FUNCTION hold_user(id bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(-id);
    RETURN NOT EXISTS (SELECT FROM gone_users WHERE user_id = id);
END
$$
"""


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.create_table(
            "gone_users",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("gone_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
            sa.PrimaryKeyConstraint("user_id", name="pk_gone_users"),
        )
        op.create_table(
            "deleted_posts",
            sa.Column("post_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("author_id", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("post_id", name="pk_deleted_posts"),
        )
        op.create_index("ix_deleted_posts_author_id", "deleted_posts", ["author_id"])
        op.execute(HOLD_USER)


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("DROP FUNCTION hold_user(bigint)")
        op.drop_table("deleted_posts")
        op.drop_table("gone_users")
