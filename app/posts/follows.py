"""Queries on follows and blocks: one function, one query.

A feed is made of `effective_follows` (app/posts/suspensions.py). Lists, counts, fan-outs and evictions read `follows`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import starmap
from typing import NamedTuple

from sqlalchemy import text

from app.db.engine import POSTS, execute, pg_array_literal
from app.ids import MAX_ID

_FOLLOWERS = """
    array_to_string(ARRAY(
        SELECT follower_id FROM follows WHERE followee_id = :author_id AND follower_id > :after
        ORDER BY follower_id LIMIT :limit
    ), ',')
"""
_MORE_FOLLOWERS = "EXISTS (SELECT FROM follows WHERE followee_id = :author_id OFFSET :number)"

_NEWEST = """
    SELECT created_at, {other} FROM {table} WHERE {one} = :user_id AND (created_at, {other}) < (:created_at, :other_id)
    ORDER BY created_at DESC, {other} DESC LIMIT :limit
"""


class Position(NamedTuple):
    """A place in a list of follows or blocks, newest first: when it began, and the user at the other end."""

    since: datetime
    user_id: int


NEWEST = Position(datetime.max.replace(tzinfo=UTC), MAX_ID)  # above all


class Relation(NamedTuple):
    """Follows between the asker and a user, and whether the asker blocked the user."""

    is_followed: bool
    follows_you: bool
    is_blocked: bool


class FanoutPlan(NamedTuple):
    """The start of an author's fan-out. `state` is that in `pulled_authors`, None if the author is pushed."""

    state: str | None
    first: list[int]  # the first followers in the order of their ids
    has_more: bool  # followers than `first`
    is_large: bool


def fanout_plan(author_id: int, limit: int, large: int, without: str = "") -> FanoutPlan:
    """Fetch everything that a fan-out needs in one query.

    That is the author's state, the first `limit` followers, and whether there are more than these and more than
    `large`; no followers if the author is in state `without`.
    """
    query = text(f"""
        SELECT state, CASE WHEN state = :without THEN '' ELSE {_FOLLOWERS} END AS first,
            state IS DISTINCT FROM :without AND {_MORE_FOLLOWERS} AS is_large
        FROM (SELECT (SELECT state FROM pulled_authors WHERE author_id = :author_id) AS state) author
    """)
    parameters = {"author_id": author_id, "after": 0, "limit": limit + 1, "number": large, "without": without}
    row = execute(POSTS, query, parameters).one()
    first = _numbers(row.first)
    return FanoutPlan(row.state, first[:limit], len(first) > limit, row.is_large)


def followers(author_id: int, after: int, limit: int) -> list[int]:
    """Fetch the next followers of an author, ordered by id."""
    parameters = {"author_id": author_id, "after": after, "limit": limit}
    return _numbers(execute(POSTS, text(f"SELECT {_FOLLOWERS}"), parameters).scalar_one())


def has_more_followers_than(author_id: int, number: int) -> bool:
    """Compare an author's number of followers, reading at most `number` + 1 index entries."""
    return bool(
        execute(POSTS, text(f"SELECT {_MORE_FOLLOWERS}"), {"author_id": author_id, "number": number}).scalar_one()
    )


def non_followers(post_id: int, author_id: int, follower_ids: Sequence[int]) -> list[int]:
    """Return those of `follower_ids` whose feeds must not hold a post.

    They do not follow the author. All of them, if the post is deleted or the author is suspended.

    A batch's followers are adjacent in the index: without the range, PostgreSQL reads all followers of the author.
    """
    query = text("""
        SELECT id FROM unnest(CAST(:ids AS bigint[])) candidate (id) WHERE id NOT IN (
            SELECT follower_id FROM effective_follows
            WHERE followee_id = :author_id AND follower_id BETWEEN :first AND :last
              AND EXISTS (SELECT FROM posts WHERE id = :post_id)
        )
    """)
    parameters = {"post_id": post_id, "author_id": author_id, "first": min(follower_ids), "last": max(follower_ids)}
    return list(execute(POSTS, query, parameters | {"ids": pg_array_literal(follower_ids)}).scalars())


def followers_among(author_id: int, user_ids: Sequence[int]) -> list[int]:
    """Return those of `user_ids` whose feeds hold posts of the author. None, if the author is suspended."""
    query = text("""
        SELECT follower_id FROM effective_follows
        WHERE followee_id = :author_id AND follower_id = ANY(CAST(:user_ids AS bigint[]))
    """)
    parameters = {"author_id": author_id, "user_ids": pg_array_literal(user_ids)}
    return list(execute(POSTS, query, parameters).scalars())


def relation(asker_id: int, user_id: int) -> Relation:
    """Return what the asker and the user are to each other."""
    query = text("""
        SELECT EXISTS (SELECT FROM follows WHERE follower_id = :asker_id AND followee_id = :user_id) AS is_followed,
            EXISTS (SELECT FROM follows WHERE follower_id = :user_id AND followee_id = :asker_id) AS follows_you,
            EXISTS (SELECT FROM blocks WHERE blocker_id = :asker_id AND blocked_id = :user_id) AS is_blocked
    """)
    return Relation._make(execute(POSTS, query, {"asker_id": asker_id, "user_id": user_id}).one())


def newest_followees(user_id: int, limit: int, before: Position) -> list[Position]:
    """Fetch the followees of a user, newest follow first. Reads no more than `limit` index entries."""
    return _newest("follows", "follower_id", "followee_id", user_id, limit, before)


def newest_followers(user_id: int, limit: int, before: Position) -> list[Position]:
    """Fetch the followers of a user, newest follow first. Reads no more than `limit` index entries."""
    return _newest("follows", "followee_id", "follower_id", user_id, limit, before)


def newest_blocked(user_id: int, limit: int, before: Position) -> list[Position]:
    """Fetch the users blocked by a user, newest block first. Reads no more than `limit` index entries."""
    return _newest("blocks", "blocker_id", "blocked_id", user_id, limit, before)


def _newest(table: str, one: str, other: str, user_id: int, limit: int, before: Position) -> list[Position]:
    query = text(_NEWEST.format(table=table, one=one, other=other))
    parameters = {"user_id": user_id, "limit": limit, "created_at": before.since, "other_id": before.user_id}
    return list(starmap(Position, execute(POSTS, query, parameters)))


def users_with_followees(after: int, limit: int) -> list[int]:
    """Fetch the next users with followees, ordered by id.

    A loose index scan (https://wiki.postgresql.org/wiki/Loose_indexscan): one index probe per user, regardless of the
    number of followees.
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
    return list(execute(POSTS, query, {"after": after, "limit": limit}).scalars())


def count_users_with_followees() -> int:
    """Count all users with followees."""
    return int(execute(POSTS, text("SELECT count(DISTINCT follower_id) FROM follows")).scalar_one())


def count_followers_among(user_ids: Sequence[int]) -> int:
    """Count the users with followees among these."""
    query = text("""
        SELECT count(*) FROM unnest(CAST(:user_ids AS bigint[])) AS u(id)
        WHERE EXISTS (SELECT FROM follows WHERE follower_id = u.id)
    """)
    return int(execute(POSTS, query, {"user_ids": list(user_ids)}).scalar_one())


def followed_since(follower_id: int, followee_id: int) -> datetime | None:
    """Return the time of the follow, or None."""
    query = text("SELECT created_at FROM follows WHERE follower_id = :follower_id AND followee_id = :followee_id")
    parameters = {"follower_id": follower_id, "followee_id": followee_id}
    return execute(POSTS, query, parameters).scalar_one_or_none()


def _numbers(text_: str) -> list[int]:
    return [int(number) for number in text_.split(",")] if text_ else []
