"""Queries on posts and follows: one function, one query."""

from typing import Any

from sqlalchemy import Row, text

from app.db import POSTS, run

PUBLIC = "id, author_id, text, created_at, updated_at, version"


def insert_post(author_id: int, text_: str) -> int:
    insert = text("INSERT INTO posts (author_id, text) VALUES (:author_id, :text) RETURNING id")
    return int(run(POSTS, insert, {"author_id": author_id, "text": text_}).scalar_one())


def select_post(post_id: int) -> Row[Any] | None:
    return run(POSTS, text(f"SELECT {PUBLIC} FROM posts WHERE id = :id"), {"id": post_id}).one_or_none()


def lock_author(post_id: int) -> int | None:
    """The author of a post, which stays locked until the transaction ends; None if there is no such post."""
    query = text("SELECT author_id FROM posts WHERE id = :id FOR UPDATE")
    return run(POSTS, query, {"id": post_id}).scalar_one_or_none()


def update_post(post_id: int, text_: str) -> None:
    update = text("UPDATE posts SET text = :text, version = version + 1, updated_at = now() WHERE id = :id")
    run(POSTS, update, {"id": post_id, "text": text_})


def delete_post(post_id: int) -> None:
    run(POSTS, text("DELETE FROM posts WHERE id = :id"), {"id": post_id})


def insert_follow(follower_id: int, followee_id: int) -> bool:
    """Whether it is new."""
    insert = text("""
        INSERT INTO follows (follower_id, followee_id) VALUES (:follower_id, :followee_id)
        ON CONFLICT DO NOTHING
    """)
    return run(POSTS, insert, {"follower_id": follower_id, "followee_id": followee_id}).rowcount > 0


def delete_follow(follower_id: int, followee_id: int) -> bool:
    """Whether there was one."""
    delete = text("DELETE FROM follows WHERE follower_id = :follower_id AND followee_id = :followee_id")
    return run(POSTS, delete, {"follower_id": follower_id, "followee_id": followee_id}).rowcount > 0
