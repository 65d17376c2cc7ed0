"""Generations of users' tokens; an outbox of the users database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOTIFY = """
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY outbox;
    RETURN NULL;
END
$$
"""


def upgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.create_table(
            "token_generations",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("generation", sa.BigInteger(), nullable=False),
            _now("changed_at"),
            sa.PrimaryKeyConstraint("user_id", name="pk_token_generations"),
        )
        op.create_table(
            "outbox",
            sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
            sa.Column("event", sa.Text(), nullable=False),
            sa.Column("payload", postgresql.JSONB(), nullable=False),
            _now("created_at"),
            sa.Column("request_id", sa.Text()),
            sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        )
        op.execute(NOTIFY)
        op.execute("""
            CREATE TRIGGER notify_outbox AFTER INSERT ON outbox
            FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()
        """)


def downgrade(engine_name: str) -> None:
    if engine_name == "users":
        op.drop_table("outbox")
        op.execute("DROP FUNCTION notify_outbox()")
        op.drop_table("token_generations")


def _now(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
