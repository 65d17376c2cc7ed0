"""Names without case, for search. app/users/fold_names.py fills them and builds their index, beside the service."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.add_column("users", sa.Column("first_name_folded", sa.Text()))
        op.add_column("users", sa.Column("second_name_folded", sa.Text()))


def downgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.drop_column("users", "second_name_folded")
        op.drop_column("users", "first_name_folded")
