"""Users; posts, follows, outbox; time-ordered ids."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# 64 bits: 41 of milliseconds since 2010-11-04T01:42:54.657Z, 10 of shard, 12 of sequence.
# Layout: Twitter, "Announcing Snowflake" (2010); inside PostgreSQL: Instagram, "Sharding & IDs" (2012).
NEXT_ID = """
CREATE FUNCTION next_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1288834974657) << 22)
         | ({shard} << 12)
         | (nextval('id_sequence') & 4095)
$$
"""

NOTIFY = """
CREATE FUNCTION notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY outbox;
    RETURN NULL;
END
$$
"""


def upgrade(engine_name: str) -> None:
    op.execute("CREATE SEQUENCE id_sequence")
    op.execute(NEXT_ID.format(shard=0))
    globals()[f"upgrade_{engine_name}"]()


def downgrade(engine_name: str) -> None:
    globals()[f"downgrade_{engine_name}"]()
    op.execute("DROP FUNCTION next_id()")
    op.execute("DROP SEQUENCE id_sequence")


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger(), server_default=sa.text("next_id()"), autoincrement=False, nullable=False)


def _time(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade_users() -> None:
    op.create_table(
        "users",
        _id(),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("second_name", sa.Text(), nullable=False),
        sa.Column("birthdate", sa.Date(), nullable=False),
        sa.Column("biography", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )
    op.execute("""
        CREATE INDEX ix_users_names ON users
        (lower(first_name) text_pattern_ops, lower(second_name) text_pattern_ops)
    """)


def downgrade_users() -> None:
    op.drop_table("users")


def upgrade_posts() -> None:
    op.create_table(
        "posts",
        _id(),
        sa.Column("author_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_posts"),
    )
    op.create_index("ix_posts_author_id_id", "posts", ["author_id", sa.text("id DESC")])
    op.create_table(
        "follows",
        sa.Column("follower_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("followee_id", sa.BigInteger(), autoincrement=False, nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("follower_id", "followee_id", name="pk_follows"),
    )
    op.create_index("ix_follows_followee_id_follower_id", "follows", ["followee_id", "follower_id"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        _time("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.execute(NOTIFY)
    op.execute("""
        CREATE TRIGGER notify_outbox AFTER INSERT ON outbox
        FOR EACH STATEMENT EXECUTE FUNCTION notify_outbox()
    """)


def downgrade_posts() -> None:
    op.drop_table("outbox")
    op.execute("DROP FUNCTION notify_outbox()")
    op.drop_table("follows")
    op.drop_table("posts")
