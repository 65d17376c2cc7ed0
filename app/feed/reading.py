"""Reading a page of a feed: from Redis, and from SQL where Redis cannot answer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from app.feed import authored, bodies, merging, replica, service, timeline, truth
from app.redis import REDIS_AWAY, breaker
from app.settings import settings

ROUNDS = 4  # readings of a list that turns out cold or holds dead posts, before SQL answers

# X-Feed-Source: where a page came from.
CACHE, REBUILT, DATABASE = "cache", "rebuilt", "database"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """Posts as JSON, newest first; `last_id` is where the next page begins, None at the end of the feed."""

    posts: Sequence[bytes]
    last_id: int | None
    source: str


def read_page(user_id: int, offset: int, limit: int, before: int | None = None) -> Page:
    """A page of a feed: from `offset`, cut at the cap, or with `before` the posts older than that id, without end."""
    if before is None:
        limit = max(0, min(limit, settings().feed_cap - offset))
    if limit == 0:
        return Page([], None, CACHE)
    if not breaker().is_open:
        try:
            page = _read_cached(user_id, offset, limit, before)
        except redis.RedisError as error:
            if isinstance(error, REDIS_AWAY):
                breaker().trip()
            log.warning("Redis cannot serve, the feed is read from SQL: %s", error)
        else:
            if page is not None:
                return page
    return _read_database(user_id, offset, limit, before)


def _read_cached(user_id: int, offset: int, limit: int, before: int | None) -> Page | None:
    """None where the cache cannot answer: beyond its end, or somebody else is rebuilding it."""
    source = CACHE
    for _ in range(ROUNDS):
        part = timeline.page(user_id, offset, limit, before)
        if part.pulled:
            part = merging.page(user_id, part.pulled, offset, limit, before)
        if before is not None and not part.known and not part.cold:
            return None
        if not part.known:
            if not _build(user_id, part):
                return None
            source = REBUILT
            continue
        posts = _filled(part)
        if all(posts):
            return Page(posts, int(part.ids[-1]) if len(part.ids) == limit else None, source)
        dead = [int(post_id) for post_id, body in zip(part.ids, posts, strict=True) if not body]
        timeline.remove([user_id], dead)
        authored.remove(part.pulled, dead)
    return None


def _build(user_id: int, part: timeline.Slice) -> bool:
    """Build what a page lacks. Returns False where somebody else is doing it."""
    if isinstance(part, merging.Merged):
        return merging.build(user_id, part)
    return service.rebuild(user_id, attempts=1, wait=True)


def _filled(part: timeline.Slice) -> list[bytes]:
    """The bodies of a page, where those that are not cached are read from SQL and cached."""
    missing = [int(post_id) for post_id, body in zip(part.ids, part.bodies, strict=True) if body is None]
    filled = bodies.refresh(missing) if missing else {}
    return [filled[int(i)] if body is None else body for i, body in zip(part.ids, part.bodies, strict=True)]


def _read_database(user_id: int, offset: int, limit: int, before: int | None) -> Page:
    if before is None:
        posts = replica.at_least_now(truth.newest_posts, user_id, limit, offset=offset)
    else:
        posts = replica.at_least_now(truth.newest_posts, user_id, limit, before=before)
    page = [bodies.to_json(post) for post in posts]
    return Page(page, posts[-1].id if len(posts) == limit else None, DATABASE)
