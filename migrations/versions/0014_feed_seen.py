"""Read marks: the posts up to which users have read their feeds; the newest id that was made."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# The place of the last number that `next_id()` took (see 0006), as an id. Both sequences only grow, so every id that
# was made before this is called is at most this one, also if the two are read a moment apart.
LAST_ID = """
CREATE FUNCTION last_id() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    place bigint := coalesce(pg_sequence_last_value('id_offset'), 0)
        + coalesce(pg_sequence_last_value('id_sequence'), 0);
BEGIN
    RETURN ((place >> 12) << 22) | (place & 4095);
END
$$
"""


def upgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.create_table(
            "feed_seen",
            sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
            sa.Column("post_id", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("user_id", name="pk_feed_seen"),
            postgresql_with={"fillfactor": 70},  # room for the next version of a row on its page
        )
        op.execute(LAST_ID)


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        op.execute("DROP FUNCTION last_id()")
        op.drop_table("feed_seen")
