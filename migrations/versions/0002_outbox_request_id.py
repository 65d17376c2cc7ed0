"""The outbox says which request an event follows from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.add_column("outbox", sa.Column("request_id", sa.Text(), nullable=True))


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.drop_column("outbox", "request_id")
