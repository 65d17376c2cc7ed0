"""Queries on posts, and writes of follows and blocks: one function, one query."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, text

from app.db.engine import POSTS, execute

PUBLIC = "id, author_id, text, created_at, updated_at, version"

_BLOCK_EXISTS = """EXISTS (
    SELECT FROM blocks
    WHERE (blocker_id, blocked_id) IN ((:follower_id, :followee_id), (:followee_id, :follower_id))
)"""


class NewPost(NamedTuple):
    """A post to be created, and the id of the request that creates it."""

    author_id: int
    text: str
    request_id: str | None


def insert_posts(posts: Sequence[NewPost]) -> list[int | None]:
    """Insert posts. Returns their ids, None where the author is gone, or is locked by the deletion of the account."""
    insert = text("""
        WITH held AS MATERIALIZED (
            SELECT next_id() AS id, author_id, text, number
            FROM unnest(CAST(:authors AS bigint[]), CAST(:texts AS text[]))
                WITH ORDINALITY AS new (author_id, text, number)
            WHERE CASE WHEN pg_try_advisory_xact_lock_shared(-author_id) THEN hold_user(author_id) END
        ), inserted AS (INSERT INTO posts (id, author_id, text) SELECT id, author_id, text FROM held)
        SELECT number, id FROM held
    """)
    columns = {"authors": [post.author_id for post in posts], "texts": [post.text for post in posts]}
    ids = {row.number: row.id for row in execute(POSTS, insert, columns)}
    return [ids.get(number) for number in range(1, len(posts) + 1)]


def insert_post(author_id: int, text_: str) -> int | None:
    """Insert a post. Returns its id, None if the author is gone."""
    insert = text("""
        INSERT INTO posts (author_id, text) SELECT :author_id, :text WHERE hold_user(:author_id) RETURNING id
    """)
    return execute(POSTS, insert, {"author_id": author_id, "text": text_}).scalar_one_or_none()


def select_post(post_id: int) -> Row[Any] | None:
    """Return a post, also one whose author is suspended."""
    return execute(POSTS, text(f"SELECT {PUBLIC} FROM posts WHERE id = :id"), {"id": post_id}).one_or_none()


def select_visible_post(post_id: int) -> Row[Any] | None:
    """Return a post unless its author is suspended."""
    query = text(f"""
        SELECT {PUBLIC} FROM posts
        WHERE id = :id AND NOT EXISTS (SELECT FROM suspended_users WHERE user_id = author_id)
    """)
    return execute(POSTS, query, {"id": post_id}).one_or_none()


def select_posts_by(author_id: int, limit: int, room: int, before: int) -> tuple[list[Row[Any]], bool]:
    """Return an author's posts older than `before`, newest first, and whether there are more.

    `room` is in bytes: the page ends with the post whose text exceeds it. The author comes from a subquery, which hides
    from the planner how much they wrote. For a prolific one it would scan all posts by id, also those of others.
    """
    query = text(f"""
        SELECT * FROM (
            SELECT page.*, count(*) OVER () AS found,
                sum(octet_length(text)) OVER (ORDER BY id DESC) - octet_length(text) AS bytes_above
            FROM (SELECT CAST(:author_id AS bigint) AS author_id OFFSET 0) author CROSS JOIN LATERAL (
                SELECT {PUBLIC} FROM posts WHERE author_id = author.author_id AND id < :before
                ORDER BY id DESC LIMIT :limit
            ) page
        ) post WHERE bytes_above <= :room ORDER BY id DESC
    """)
    parameters = {"author_id": author_id, "before": before, "limit": limit + 1, "room": room}
    posts = list(execute(POSTS, query, parameters))
    return posts[:limit], bool(posts) and len(posts[:limit]) < posts[0].found


def lock_author(post_id: int) -> int | None:
    """Lock a post until the transaction ends. Returns its author, or None if there is no such post."""
    query = text("SELECT author_id FROM posts WHERE id = :id FOR UPDATE")
    return execute(POSTS, query, {"id": post_id}).scalar_one_or_none()


def update_post(post_id: int, text_: str) -> None:
    update = text("UPDATE posts SET text = :text, version = version + 1, updated_at = now() WHERE id = :id")
    execute(POSTS, update, {"id": post_id, "text": text_})


def delete_post(post_id: int) -> None:
    """Delete a post, and note that this is not fanned out yet."""
    delete = text("""
        WITH deleted AS (DELETE FROM posts WHERE id = :id RETURNING id, author_id)
        INSERT INTO deleted_posts (post_id, author_id) SELECT id, author_id FROM deleted
    """)
    execute(POSTS, delete, {"id": post_id})


def lock_pair(user_id: int, other_id: int) -> None:
    """Let only this transaction follow or block between two users, until it ends.

    What others committed before is visible to the statements after this one, not to this one.
    """
    lock = text("SELECT pg_advisory_xact_lock(hashint8(:lower), hashint8(:higher))")
    execute(POSTS, lock, {"lower": min(user_id, other_id), "higher": max(user_id, other_id)})


def insert_follow(follower_id: int, followee_id: int) -> bool:
    """Insert a follow unless one has blocked the other, or is gone. Returns whether it is new."""
    insert = text(f"""
        INSERT INTO follows (follower_id, followee_id)
        SELECT :follower_id, :followee_id
        WHERE hold_user(:follower_id) AND hold_user(:followee_id) AND NOT {_BLOCK_EXISTS}
        ON CONFLICT DO NOTHING
    """)
    return execute(POSTS, insert, {"follower_id": follower_id, "followee_id": followee_id}).rowcount > 0


def delete_follow(follower_id: int, followee_id: int) -> bool:
    """Delete a follow. Returns whether it existed."""
    delete = text("DELETE FROM follows WHERE follower_id = :follower_id AND followee_id = :followee_id")
    return execute(POSTS, delete, {"follower_id": follower_id, "followee_id": followee_id}).rowcount > 0


def has_block(follower_id: int, followee_id: int) -> bool:
    """Return whether one of the two has blocked the other."""
    parameters = {"follower_id": follower_id, "followee_id": followee_id}
    return bool(execute(POSTS, text(f"SELECT {_BLOCK_EXISTS}"), parameters).scalar_one())


def insert_block(blocker_id: int, blocked_id: int) -> None:
    """Insert a block unless one of the two is gone."""
    insert = text("""
        INSERT INTO blocks (blocker_id, blocked_id) SELECT :blocker_id, :blocked_id
        WHERE hold_user(:blocker_id) AND hold_user(:blocked_id) ON CONFLICT DO NOTHING
    """)
    execute(POSTS, insert, {"blocker_id": blocker_id, "blocked_id": blocked_id})


def delete_block(blocker_id: int, blocked_id: int) -> None:
    delete = text("DELETE FROM blocks WHERE blocker_id = :blocker_id AND blocked_id = :blocked_id")
    execute(POSTS, delete, {"blocker_id": blocker_id, "blocked_id": blocked_id})
