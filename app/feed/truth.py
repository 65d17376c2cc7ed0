"""What SQL says a feed is. Every function is one query, so one snapshot, unless it says otherwise."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Row, text

from app.db import POSTS, run
from app.posts.store import PUBLIC

# For each author the newest ids from the index alone, then the newest of those.
_NEWEST = """
    SELECT p.id FROM follows f
    CROSS JOIN LATERAL (
        SELECT id FROM posts WHERE author_id = f.followee_id AND id < :before ORDER BY id DESC LIMIT :limit
    ) p
    WHERE f.follower_id = :user_id ORDER BY p.id DESC LIMIT :limit
"""
END_OF_TIME = 2**63 - 1


def newest_ids(user_id: int, limit: int) -> list[int]:
    """The ids of the newest posts of the authors that `user_id` follows, newest first."""
    rows = run(POSTS, text(_NEWEST), {"user_id": user_id, "before": END_OF_TIME, "limit": limit})
    return list(rows.scalars())


def newest_posts(user_id: int, limit: int, *, before: int = END_OF_TIME, offset: int = 0) -> list[Row[Any]]:
    """A page of the feed, posts and all: at most `limit` posts older than `before`, newest first."""
    query = text(f"""
        SELECT {PUBLIC} FROM posts JOIN ({_NEWEST}) page USING (id) ORDER BY id DESC OFFSET :offset
    """)
    return list(run(POSTS, query, {"user_id": user_id, "before": before, "limit": offset + limit, "offset": offset}))


def posts(post_ids: Sequence[int]) -> list[Row[Any]]:
    """The live ones of these posts, in no order."""
    return list(run(POSTS, text(f"SELECT {PUBLIC} FROM posts WHERE id = ANY(:ids)"), {"ids": list(post_ids)}))


def entitled(post_id: int, author_id: int, follower_ids: Sequence[int]) -> set[int]:
    """Those of `follower_ids` that follow the author, if the post lives."""
    query = text("""
        SELECT follower_id FROM follows
        WHERE followee_id = :author_id AND follower_id = ANY(:follower_ids)
          AND EXISTS (SELECT FROM posts WHERE id = :post_id)
    """)
    parameters = {"post_id": post_id, "author_id": author_id, "follower_ids": list(follower_ids)}
    return set(run(POSTS, query, parameters).scalars())


def followers(author_id: int, after: int, limit: int) -> list[int]:
    """The next followers of an author in the order of their ids."""
    query = text("""
        SELECT follower_id FROM follows WHERE followee_id = :author_id AND follower_id > :after
        ORDER BY follower_id LIMIT :limit
    """)
    return list(run(POSTS, query, {"author_id": author_id, "after": after, "limit": limit}).scalars())


def has_more_followers_than(author_id: int, number: int) -> bool:
    """Reads no more than `number` + 1 index entries."""
    query = text("SELECT EXISTS (SELECT FROM follows WHERE followee_id = :author_id OFFSET :number)")
    return bool(run(POSTS, query, {"author_id": author_id, "number": number}).scalar_one())


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


def followed_since(follower_id: int, followee_id: int) -> datetime | None:
    """When the one began to follow the other; None if they do not."""
    query = text("SELECT created_at FROM follows WHERE follower_id = :follower_id AND followee_id = :followee_id")
    parameters = {"follower_id": follower_id, "followee_id": followee_id}
    return run(POSTS, query, parameters).scalar_one_or_none()


def newest_ids_of(user_ids: Sequence[int], limit: int) -> dict[int, list[int]]:
    """`newest_ids` of many users at once: each author's newest ids are read once, and merged in memory."""
    followees = followees_of(user_ids)
    newest = newest_of_authors({author for authors in followees.values() for author in authors}, limit)
    return {user_id: _merge((newest.get(a, []) for a in followees.get(user_id, [])), limit) for user_id in user_ids}


def _merge(authors: Iterable[list[int]], limit: int) -> list[int]:
    """The newest ids of all. Sorting finds the runs that the authors' lists are, and merges them in C."""
    return sorted(chain.from_iterable(authors), reverse=True)[:limit]


def followees_of(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """Whom each of these users follows; who follows nobody is left out."""
    query = text("""
        SELECT follower_id, array_agg(followee_id) AS followee_ids FROM follows
        WHERE follower_id = ANY(:user_ids) GROUP BY follower_id
    """)
    rows = run(POSTS, query, {"user_ids": list(user_ids)})
    return {row.follower_id: row.followee_ids for row in rows}


def newest_of_authors(author_ids: Iterable[int], limit: int) -> dict[int, list[int]]:
    """Each author's newest ids, newest first; who has no post is left out."""
    query = text("""
        SELECT author_id, array_agg(id) AS post_ids FROM unnest(CAST(:author_ids AS bigint[])) author_id
        CROSS JOIN LATERAL (
            SELECT id FROM posts WHERE posts.author_id = author_id.author_id ORDER BY id DESC LIMIT :limit
        ) newest
        GROUP BY author_id
    """)
    rows = run(POSTS, query, {"author_ids": list(author_ids), "limit": limit})
    return {row.author_id: row.post_ids for row in rows}
