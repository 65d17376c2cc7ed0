"""Indexes of follows by time. app/posts/follow_indexes.py builds them, beside the service."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    pass


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("DROP INDEX IF EXISTS ix_follows_followee_id_created_at")
        op.execute("DROP INDEX IF EXISTS ix_follows_follower_id_created_at")
