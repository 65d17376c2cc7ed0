"""Queries on users who are gone, and on what they leave: one function, one query.

A row of `gone_users` is a bare id. It keeps writes that were under way from adding to what is taken away: each
holds the user (`hold_user` in the migration) until it commits. It goes once no token of the user is left.
"""

from collections.abc import Iterable

from sqlalchemy import text

from app.db.engine import POSTS, execute, pg_array_literal

# Tables with a user at either end, and the columns of both.
RELATIONS = (
    ("follows", "followee_id", "follower_id"),
    ("follows", "follower_id", "followee_id"),
    ("blocks", "blocker_id", "blocked_id"),
    ("blocks", "blocked_id", "blocker_id"),
)


_NAMING = (
    ("posts", "author_id"),
    ("deleted_posts", "author_id"),
    ("pulled_authors", "author_id"),
    ("feed_seen", "user_id"),
    ("user_counts", "user_id"),
    ("suspended_users", "user_id"),
    *((table, one) for table, one, _ in RELATIONS),
)


def bury(user_id: int) -> bool:
    """Write that a user is gone, unless a write under way holds the user. Returns whether it did.

    Further writes wait until the commit.
    """
    bury = text("""
        INSERT INTO gone_users AS known (user_id) SELECT :user_id WHERE pg_try_advisory_xact_lock(-:user_id)
        ON CONFLICT (user_id) DO UPDATE SET gone_at = known.gone_at RETURNING user_id
    """)
    return execute(POSTS, bury, {"user_id": user_id}).one_or_none() is not None


def gone_among(user_ids: Iterable[int]) -> set[int]:
    """Return those of `user_ids` who are gone."""
    query = text("SELECT user_id FROM gone_users WHERE user_id = ANY(CAST(:user_ids AS bigint[]))")
    return set(execute(POSTS, query, {"user_ids": pg_array_literal(user_ids)}).scalars())


def left_among(user_ids: Iterable[int]) -> list[int]:
    """Return those of `user_ids` who have no tombstone, or something for an erasure to take."""
    query = text(f"""
        SELECT one.id FROM unnest(CAST(:user_ids AS bigint[])) AS one (id)
        WHERE NOT EXISTS (SELECT FROM gone_users WHERE user_id = one.id)
            OR {" OR ".join(f"EXISTS (SELECT FROM {table} WHERE {column} = one.id)" for table, column in _NAMING)}
    """)
    return list(execute(POSTS, query, {"user_ids": pg_array_literal(user_ids)}).scalars())


def forget_old(seconds: int) -> int:
    """Delete the ids of users who have been gone for so long. Returns how many."""
    delete = text("DELETE FROM gone_users WHERE gone_at < now() - make_interval(secs => :seconds)")
    return execute(POSTS, delete, {"seconds": seconds}).rowcount


def take_posts(author_id: int, limit: int) -> None:
    """Delete an author's newest posts, and note that this is not fanned out yet.

    A post that another transaction is deleting is waited for: the lock is taken before the limit is applied.
    """
    delete = text("""
        WITH taken AS (DELETE FROM posts WHERE id IN (
            SELECT id FROM posts WHERE author_id = :author_id ORDER BY id DESC LIMIT :limit FOR UPDATE
        ) RETURNING id)
        INSERT INTO deleted_posts (post_id, author_id) SELECT id, :author_id FROM taken
    """)
    execute(POSTS, delete, {"author_id": author_id, "limit": limit})


def deleted_posts(author_id: int, limit: int) -> list[int]:
    """Return the newest posts of an author whose deletion has not been fanned out."""
    query = text("SELECT post_id FROM deleted_posts WHERE author_id = :author_id ORDER BY post_id DESC LIMIT :limit")
    return list(execute(POSTS, query, {"author_id": author_id, "limit": limit}).scalars())


def forget_deleted_posts(post_ids: Iterable[int]) -> None:
    """Note that the deletion of these posts has been fanned out."""
    delete = text("DELETE FROM deleted_posts WHERE post_id = ANY(CAST(:post_ids AS bigint[]))")
    execute(POSTS, delete, {"post_ids": pg_array_literal(post_ids)})


def take_pull_state(author_id: int) -> None:
    """Delete the state of a pulled author: from now on no rebuild names them in a mark."""
    execute(POSTS, text("DELETE FROM pulled_authors WHERE author_id = :author_id"), {"author_id": author_id})


def take_seen(user_id: int) -> None:
    """Delete the read mark of a user."""
    execute(POSTS, text("DELETE FROM feed_seen WHERE user_id = :user_id"), {"user_id": user_id})


def take_counts(user_id: int) -> None:
    """Delete the counts of a user without posts and follows."""
    execute(POSTS, text("DELETE FROM user_counts WHERE user_id = :user_id"), {"user_id": user_id})


def take_relations(table: str, one: str, other: str, user_id: int, limit: int) -> int:
    """Delete rows of `table` (RELATIONS) in which a user is at the end `one`. Returns how many."""
    delete = text(f"""
        DELETE FROM {table} WHERE {one} = :user_id AND {other} IN (
            SELECT {other} FROM {table} WHERE {one} = :user_id ORDER BY {other} LIMIT :limit FOR UPDATE
        )
    """)
    return execute(POSTS, delete, {"user_id": user_id, "limit": limit}).rowcount
