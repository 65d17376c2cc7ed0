"""Counts of each user's followers, followees and posts.

Triggers on `follows` and `posts` add to `user_counts` in the transaction of each change (see the migration). The rows
of a user are summed on read. Each may be negative; only the sum says something.

In any snapshot the sum is exact, so what is missing from it stays the same when others commit later: a row with the
difference mends it, under load and without a lock. That is also how everything from before the triggers is counted,
after the migration, user by user; `counted_users` holds the last one. Later users are counted on read until then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Engine, text

from app.db.engine import POSTS, db, execute, using_connection
from app.db.indexes import exclusive_connection
from app.ids import MAX_ID

LOCK = 0x636F756E  # "coun"
BATCH = 1000  # users


class Counts(NamedTuple):
    """Numbers of followers, followees and posts, or what is missing from them."""

    followers: int
    following: int
    posts: int


class Part(NamedTuple):
    """Users that were compared, and what their counts lack."""

    users: int
    missing: dict[int, Counts]


_OF_USER = text("""
    SELECT coalesce(sum(followers), 0)::bigint, coalesce(sum(following), 0)::bigint, coalesce(sum(posts), 0)::bigint
    FROM (
        SELECT followers, following, posts FROM user_counts
        WHERE user_id = :user_id AND :user_id <= (SELECT up_to FROM counted_users)
        UNION ALL
        SELECT (SELECT count(*) FROM follows WHERE followee_id = :user_id),
            (SELECT count(*) FROM follows WHERE follower_id = :user_id),
            (SELECT count(*) FROM posts WHERE author_id = :user_id)
        WHERE :user_id > (SELECT up_to FROM counted_users)
    ) AS part
""")
_NEXT = " UNION ".join(
    f"(SELECT DISTINCT {column} AS id FROM {table} WHERE {column} > :after ORDER BY 1 LIMIT {BATCH})"
    for table, column in (
        ("follows", "followee_id"),
        ("follows", "follower_id"),
        ("posts", "author_id"),
        ("user_counts", "user_id"),
    )
)
_NEXT_USERS = text(
    f"SELECT count(*) AS number, max(id) AS last FROM (SELECT id FROM ({_NEXT}) found ORDER BY id LIMIT {BATCH}) batch"
)
# The contents of SQL, less the counts.
_MISSING = """
    SELECT user_id, sum(followers)::integer AS followers, sum(following)::integer AS following,
        sum(posts)::integer AS posts
    FROM (
        SELECT followee_id, count(*), 0, 0 FROM follows
        WHERE followee_id > :after AND followee_id <= :last GROUP BY followee_id
        UNION ALL
        SELECT follower_id, 0, count(*), 0 FROM follows
        WHERE follower_id > :after AND follower_id <= :last GROUP BY follower_id
        UNION ALL
        SELECT author_id, 0, 0, count(*) FROM posts
        WHERE author_id > :after AND author_id <= :last GROUP BY author_id
        UNION ALL
        SELECT user_id, -followers, -following, -posts FROM user_counts
        WHERE user_id > :after AND user_id <= :last
    ) AS part (user_id, followers, following, posts)
    GROUP BY user_id HAVING sum(followers) <> 0 OR sum(following) <> 0 OR sum(posts) <> 0
"""
_MEND = f"""
    INSERT INTO user_counts (user_id, followers, following, posts) {_MISSING}
    RETURNING user_id, followers, following, posts
"""
_MEND_AND_MOVE = text(f"WITH mended AS ({_MEND}) UPDATE counted_users SET up_to = :last RETURNING up_to")


def of_user(user_id: int) -> Counts:
    """Return the counts of a user, all 0 if there is no such user."""
    return Counts._make(execute(POSTS, _OF_USER, {"user_id": user_id}).one())


def counted_up_to() -> int:
    """Return the last user whose follows and posts from before the migration are counted. MAX_ID: all are."""
    return int(execute(POSTS, text("SELECT up_to FROM counted_users")).scalar_one())


def number_of_users() -> int:
    """Count the users that have counts."""
    return int(execute(POSTS, text("SELECT count(DISTINCT user_id) FROM user_counts")).scalar_one())


def compare(*, mend: bool = False) -> Iterator[Part]:
    """Compare the counts of all users with SQL, in batches. `mend` needs `exclusively`."""
    after = 0
    while after < MAX_ID:
        users = execute(POSTS, _NEXT_USERS, {"after": after}).one()
        if users.number == 0:
            return
        rows = execute(POSTS, text(_MEND if mend else _MISSING), {"after": after, "last": users.last})
        yield Part(users.number, {row.user_id: Counts(row.followers, row.following, row.posts) for row in rows})
        after = users.last


@contextmanager
def exclusively(engine: Engine | None = None) -> Iterator[None]:
    """Mend in one process at a time: two would add the same difference. Each statement is a transaction."""
    with exclusive_connection(engine or db.engines[POSTS], LOCK) as connection, using_connection(POSTS, connection):
        yield


def count_existing(engine: Engine) -> None:
    """Count what was there before the triggers. It may be interrupted: every `db upgrade` completes it."""
    with exclusively(engine):
        after = counted_up_to()
        while after < MAX_ID:
            last = execute(POSTS, _NEXT_USERS, {"after": after}).one().last or MAX_ID
            after = execute(POSTS, _MEND_AND_MOVE, {"after": after, "last": last}).scalar_one()
