"""Who follows whom, and so whom an author's posts go to, from SQL. Every function is one query."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from app.db import POSTS, array, run

_FOLLOWERS = """
    array_to_string(ARRAY(
        SELECT follower_id FROM follows WHERE followee_id = :author_id AND follower_id > :after
        ORDER BY follower_id LIMIT :limit
    ), ',')
"""
_MORE_FOLLOWERS = "EXISTS (SELECT FROM follows WHERE followee_id = :author_id OFFSET :number)"


class Audience(NamedTuple):
    """Whom an author's posts go to, and how: `state` in `pulled_authors`, None for one who is pushed."""

    state: str | None
    first: list[int]  # the first followers in the order of their ids
    is_large: bool


def audience(author_id: int, limit: int, large: int, without: str = "") -> Audience:
    """`limit` followers come with it, and whether there are more than `large`: all that a fan-out begins with, by one
    query, for everybody waits for it. In the state `without` it is nobody.
    """
    query = text(f"""
        SELECT state, CASE WHEN state = :without THEN '' ELSE {_FOLLOWERS} END AS first,
            state IS DISTINCT FROM :without AND {_MORE_FOLLOWERS} AS is_large
        FROM (SELECT (SELECT state FROM pulled_authors WHERE author_id = :author_id) AS state) author
    """)
    parameters = {"author_id": author_id, "after": 0, "limit": limit, "number": large, "without": without}
    row = run(POSTS, query, parameters).one()
    return Audience(row.state, _numbers(row.first), row.is_large)


def followers(author_id: int, after: int, limit: int) -> list[int]:
    """The next followers of an author in the order of their ids."""
    parameters = {"author_id": author_id, "after": after, "limit": limit}
    return _numbers(run(POSTS, text(f"SELECT {_FOLLOWERS}"), parameters).scalar_one())


def has_more_followers_than(author_id: int, number: int) -> bool:
    """Reads no more than `number` + 1 index entries."""
    return bool(run(POSTS, text(f"SELECT {_MORE_FOLLOWERS}"), {"author_id": author_id, "number": number}).scalar_one())


def strangers(post_id: int, author_id: int, follower_ids: Sequence[int]) -> list[int]:
    """Those of `follower_ids` that do not follow the author; all of them if the post is gone.

    A batch's followers are neighbours in the index: without the range PostgreSQL reads all followers of the author.
    """
    query = text("""
        SELECT id FROM unnest(CAST(:ids AS bigint[])) stranger (id) WHERE id NOT IN (
            SELECT follower_id FROM follows
            WHERE followee_id = :author_id AND follower_id BETWEEN :first AND :last
              AND EXISTS (SELECT FROM posts WHERE id = :post_id)
        )
    """)
    parameters = {"post_id": post_id, "author_id": author_id, "first": min(follower_ids), "last": max(follower_ids)}
    return list(run(POSTS, query, parameters | {"ids": array(follower_ids)}).scalars())


def readers(after: int, limit: int) -> list[int]:
    """The next users who follow somebody, in the order of their ids.

    A loose index scan (https://wiki.postgresql.org/wiki/Loose_indexscan): one index probe a user,
    however many they follow.
    """
    query = text("""
        WITH RECURSIVE reader AS (
            (SELECT follower_id FROM follows WHERE follower_id > :after ORDER BY follower_id LIMIT 1)
            UNION ALL
            SELECT (SELECT follower_id FROM follows f WHERE f.follower_id > reader.follower_id
                    ORDER BY follower_id LIMIT 1)
            FROM reader WHERE reader.follower_id IS NOT NULL
        )
        SELECT follower_id FROM reader WHERE follower_id IS NOT NULL LIMIT :limit
    """)
    return list(run(POSTS, query, {"after": after, "limit": limit}).scalars())


def count_readers() -> int:
    """How many follow somebody."""
    return int(run(POSTS, text("SELECT count(DISTINCT follower_id) FROM follows")).scalar_one())


def count_followers_among(user_ids: Sequence[int]) -> int:
    """How many of these follow somebody."""
    query = text("""
        SELECT count(*) FROM unnest(CAST(:user_ids AS bigint[])) AS u(id)
        WHERE EXISTS (SELECT FROM follows WHERE follower_id = u.id)
    """)
    return int(run(POSTS, query, {"user_ids": list(user_ids)}).scalar_one())


def followed_since(follower_id: int, followee_id: int) -> datetime | None:
    """When the one began to follow the other; None if they do not."""
    query = text("SELECT created_at FROM follows WHERE follower_id = :follower_id AND followee_id = :followee_id")
    parameters = {"follower_id": follower_id, "followee_id": followee_id}
    return run(POSTS, query, parameters).scalar_one_or_none()


def _numbers(text_: str) -> list[int]:
    return [int(number) for number in text_.split(",")] if text_ else []
