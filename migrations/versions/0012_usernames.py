"""Usernames. app/users/indexes.py builds their unique index, beside the service."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.add_column("users", sa.Column("username", sa.Text(collation="C")))


def downgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.drop_column("users", "username")
