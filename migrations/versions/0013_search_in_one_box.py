"""Indexes of names in either order. app/users/indexes.py builds them, beside the service."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    pass


def downgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.execute("DROP INDEX IF EXISTS ix_users_reversed_name")
        op.execute("DROP INDEX IF EXISTS ix_users_full_name")
