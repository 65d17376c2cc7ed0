"""Peers: the same work as it is usually done, written with care."""

from collections.abc import Sequence
from typing import Any

from flask import Flask, jsonify
from sqlalchemy import Engine, select, text

from app.auth.tokens import current_user_id
from app.db.engine import POSTS, db
from app.factory import create_app
from app.posts.models import follows, posts

JOIN = text("""
    SELECT posts.id FROM posts JOIN follows ON posts.author_id = follows.followee_id
    WHERE follows.follower_id = :user_id ORDER BY posts.id DESC LIMIT :limit
""")
PAGE = select(posts).join(follows, posts.c.author_id == follows.c.followee_id).order_by(posts.c.id.desc()).limit(10)


def create_sql_app() -> Flask:
    """Lenta with one route more, /sql/feed: the newest page of the feed by a query. Token and server are the same."""
    app = create_app()
    app.add_url_rule("/sql/feed", view_func=_sql_feed)
    return app


def _sql_feed() -> Any:
    page = PAGE.where(follows.c.follower_id == current_user_id())
    rows = db.session.execute(page, bind_arguments={"bind": db.engines[POSTS]})
    return jsonify(
        [
            {
                "id": str(row.id),
                "text": row.text,
                "author_user_id": str(row.author_id),
                "created_at": row.created_at.isoformat(),
                "updated_at": row.updated_at.isoformat(),
            }
            for row in rows
        ]
    )


def rebuild(engine: Engine, redis: Any, user_id: int, cap: int) -> None:
    """Rebuild a feed with a plain join, ids only, into a list."""
    with engine.connect() as connection:
        ids = list(connection.execute(JOIN, {"user_id": user_id, "limit": cap}).scalars())
    with redis.pipeline(transaction=True) as pipe:
        pipe.delete(f"peer:{user_id}")
        if ids:
            pipe.rpush(f"peer:{user_id}", *ids)
        pipe.execute()


class SortedSets:
    """Feeds as sorted sets, scored by id: how Mastodon and Stream-Framework keep them."""

    FEEDS_PER_CALL = 500

    def __init__(self, redis: Any, cap: int) -> None:
        self._redis, self._cap = redis, cap

    def fill(self, user_id: int, post_ids: Sequence[int]) -> None:
        self._redis.zadd(self.key(user_id), {post_id: post_id for post_id in post_ids})

    def push(self, user_ids: Sequence[int], post_id: int) -> None:
        """Add a post to these feeds and cut each at the cap, in pipelines."""
        for start in range(0, len(user_ids), self.FEEDS_PER_CALL):
            with self._redis.pipeline(transaction=False) as pipe:
                for user_id in user_ids[start : start + self.FEEDS_PER_CALL]:
                    pipe.zadd(self.key(user_id), {post_id: post_id})
                    pipe.zremrangebyrank(self.key(user_id), 0, -self._cap - 1)
                pipe.execute()

    @staticmethod
    def key(user_id: int) -> str:
        return f"home:{user_id}"
