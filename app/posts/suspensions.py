"""Queries on suspended users, as the posts database knows them: one function, one query.

The truth is `users.suspended_at`; app/feed/suspend.py brings this table to it. Feeds are made of `effective_follows`, a
view: the follows whose followee has no row here. Posts and follows stay as they are.
"""

from sqlalchemy import text

from app.db.engine import POSTS, execute


def lock(user_id: int) -> bool:
    """Let only this transaction change the row of a user, until it ends. Returns False if another does.

    What others committed before is visible to the statements after this one. The lock of a pair that never follows.
    """
    lock = text("SELECT pg_try_advisory_xact_lock(hashint8(:user_id), hashint8(:user_id))")
    return bool(execute(POSTS, lock, {"user_id": user_id}).scalar_one())


def insert(user_id: int) -> None:
    """Say that a user is suspended, unless they are gone: the erasure would not see the row."""
    insert = text("""
        INSERT INTO suspended_users (user_id) SELECT :user_id WHERE hold_user(:user_id) ON CONFLICT DO NOTHING
    """)
    execute(POSTS, insert, {"user_id": user_id})


def delete(user_id: int) -> None:
    """Say that a user is not suspended."""
    execute(POSTS, text("DELETE FROM suspended_users WHERE user_id = :user_id"), {"user_id": user_id})


def all_ids() -> set[int]:
    """Return all users whose posts are hidden."""
    return set(execute(POSTS, text("SELECT user_id FROM suspended_users")).scalars())


def is_suspended(user_id: int) -> bool:
    """Return whether the posts of a user are hidden."""
    query = text("SELECT EXISTS (SELECT FROM suspended_users WHERE user_id = :user_id)")
    return bool(execute(POSTS, query, {"user_id": user_id}).scalar_one())
