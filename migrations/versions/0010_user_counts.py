"""Counts of follows and posts, kept by triggers. app/posts/counts.py counts what is there, beside the service."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Each transaction adds what its statement changed to a row of each user that no other transaction has locked, or to a
# new row. So it never waits for another, and a user has as many rows as there were transactions at the same time.
COUNT = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    WITH change AS (
        SELECT user_id, sign * sum(followers)::integer AS followers, sign * sum(following)::integer AS following,
            sign * sum(posts)::integer AS posts
        FROM ({changes}) AS each (user_id, followers, following, posts) GROUP BY user_id
    ), free AS (
        SELECT row.id, change.* FROM change CROSS JOIN LATERAL (
            SELECT id FROM user_counts WHERE user_id = change.user_id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) row
    ), added AS (
        UPDATE user_counts SET followers = user_counts.followers + free.followers,
            following = user_counts.following + free.following, posts = user_counts.posts + free.posts
        FROM free WHERE user_counts.id = free.id RETURNING user_counts.user_id
    )
    INSERT INTO user_counts (user_id, followers, following, posts)
    SELECT user_id, followers, following, posts FROM change
    WHERE NOT EXISTS (SELECT FROM added WHERE added.user_id = change.user_id);  -- NOT IN would be quadratic
    RETURN NULL;
END
$$
"""
TABLES = {
    "follows": "SELECT followee_id, 1, 0, 0 FROM changed UNION ALL SELECT follower_id, 0, 1, 0 FROM changed",
    "posts": "SELECT author_id, 0, 0, 1 FROM changed",
}
TRANSITIONS = {"INSERT": "NEW", "DELETE": "OLD"}

FORGET = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE user_counts SET {columns};
    RETURN NULL;
END
$$
"""
COLUMNS = {"follows": "followers = 0, following = 0", "posts": "posts = 0"}


def upgrade(engine_name: str) -> None:
    if engine_name != "posts":
        return
    op.create_table(
        "user_counts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("followers", "following", "posts")),
        sa.PrimaryKeyConstraint("id", name="pk_user_counts"),
        postgresql_with={"fillfactor": 70},  # room for the next version of a row on its page
    )
    op.create_index("ix_user_counts_user_id", "user_counts", ["user_id"])
    op.create_table("counted_users", sa.Column("up_to", sa.BigInteger(), nullable=False))
    op.execute("INSERT INTO counted_users VALUES (0)")
    for table, changes in TABLES.items():
        op.execute(COUNT.format(name=f"count_{table}", changes=changes))
        op.execute(FORGET.format(name=f"forget_{table}", columns=COLUMNS[table]))
        for operation, transition in TRANSITIONS.items():
            op.execute(f"""
                CREATE TRIGGER count_{operation.lower()} AFTER {operation} ON {table}
                REFERENCING {transition} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_{table}()
            """)
        op.execute(f"""
            CREATE TRIGGER count_truncate AFTER TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION forget_{table}()
        """)


def downgrade(engine_name: str) -> None:
    if engine_name == "posts":
        for table in TABLES:
            for function in (f"count_{table}", f"forget_{table}"):
                op.execute(f"DROP FUNCTION {function}() CASCADE")
        op.drop_table("counted_users")
        op.drop_table("user_counts")
