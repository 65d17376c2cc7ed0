"""Queries on read marks, the posts up to which users have read their feeds: one function, one query."""

from sqlalchemy import text

from app.db.engine import POSTS, execute


def last_id() -> int:
    """Return an id that no id made so far exceeds."""
    return int(execute(POSTS, text("SELECT last_id()")).scalar_one())


def move(user_id: int, post_id: int) -> bool:
    """Move a user's read mark forward to a post. Returns False if it is as far already, or the user is gone.

    Of two devices the one that has read further counts.
    """
    insert = text("""
        INSERT INTO feed_seen AS known (user_id, post_id) SELECT :user_id, :post_id WHERE hold_user(:user_id)
        ON CONFLICT (user_id) DO UPDATE SET post_id = excluded.post_id WHERE known.post_id < excluded.post_id
    """)
    return execute(POSTS, insert, {"user_id": user_id, "post_id": post_id}).rowcount > 0


def of_user(user_id: int) -> int | None:
    """Return the post up to which a user has read, None without a read mark."""
    query = text("SELECT post_id FROM feed_seen WHERE user_id = :user_id")
    return execute(POSTS, query, {"user_id": user_id}).scalar_one_or_none()
