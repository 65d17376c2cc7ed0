"""Reads a page of a feed from Redis, or else from SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from app.db import replica
from app.feed import store
from app.feed.cache import post_bodies, timeline
from app.feed.hybrid import merge
from app.feed.maintenance import trust
from app.redis.circuit_breaker import attempt
from app.settings import settings

BODY_BATCH = 50  # bodies per MGET; bounds the bodies read in vain
MAX_ATTEMPTS = 4  # on cold lists and deleted posts, before falling back to SQL

# Values of X-Feed-Source.
CACHE, REBUILT, DATABASE = "cache", "rebuilt", "database"


@dataclass(frozen=True)
class Page:
    """A page of posts as JSON, newest first. `last_id` is the cursor of the next page, None at the end."""

    posts: Sequence[bytes]
    last_id: int | None
    source: str


def read_page(user_id: int, offset: int, limit: int, before: int | None = None, after: int | None = None) -> Page:
    """Read a page of a feed: from `offset`, up to the cap, or by cursor between `after` and `before`."""
    limit = _within_cap(offset, limit, before, after)
    if limit == 0:
        return Page([], None, CACHE)
    page = _read_trusted(_read_cached, user_id, offset, limit, before, after)
    return page or _read_database(user_id, offset, limit, before, after)


def read_warm_page(
    user_id: int, offset: int, limit: int, before: int | None = None, after: int | None = None
) -> Page | None:
    """Read a page like `read_page`, but only if Redis has all of it. Else None, without reading SQL."""
    limit = _within_cap(offset, limit, before, after)
    return _read_trusted(_read_warm, user_id, offset, limit, before, after) if limit else None


def _within_cap(offset: int, limit: int, before: int | None, after: int | None) -> int:
    return max(0, min(limit, settings().feed_cap - offset)) if before is None and after is None else limit


def _read_trusted(read: Callable[..., Page | None], *arguments: Any) -> Page | None:
    """Read from Redis. None if it fails, or a connection may lead to a server that lost writes."""

    def read_and_compare() -> Page | None:
        page = read(*arguments)
        return page if page and trust.is_trusted() else None

    return attempt(read_and_compare, None, "the feed is read from SQL")


def _read_warm(user_id: int, offset: int, limit: int, before: int | None, after: int | None) -> Page | None:
    page, _ = _find(user_id, offset, limit, before, after)
    if not page.known:
        return None
    posts = _load_bodies(page, fill=False)
    return _shown(page, posts, limit, CACHE) if all(posts) else None


def _read_cached(user_id: int, offset: int, limit: int, before: int | None, after: int | None) -> Page | None:
    """Return None if Redis cannot serve the page: past the end of the list, or while another process rebuilds it."""
    source = CACHE
    for _ in range(MAX_ATTEMPTS):
        page, missing = _find(user_id, offset, limit, before, after)
        if not page.known and not page.cold and (before is not None or after is not None):
            return None
        if not page.known:
            if not merge.build(user_id, missing):
                return None
            source = REBUILT
            continue
        posts = _load_bodies(page)
        if all(posts):
            return _shown(page, posts, limit, source)
        dead = [int(post_id) for post_id, body in zip(page.ids, posts, strict=False) if not body]
        timeline.HOME.remove([user_id], dead)
        timeline.AUTHOR.remove(page.pulled, dead)
    return None


def _find(
    user_id: int, offset: int, limit: int, before: int | None, after: int | None
) -> tuple[timeline.TimelinePage, merge.Missing]:
    """Find the ids of a page. If it is not `known`, what to build first."""
    page = timeline.page(user_id, offset, limit, before, after)
    if page.pulled:
        return merge.page(user_id, page.pulled, offset, limit, before, after)
    return page, merge.Missing([], own=True)


def _shown(page: timeline.TimelinePage, posts: list[bytes], limit: int, source: str) -> Page:
    has_more = len(posts) < len(page.ids) or len(page.ids) == limit
    return Page(posts, int(page.ids[len(posts) - 1]) if has_more else None, source)


def _load_bodies(page: timeline.TimelinePage, *, fill: bool = True) -> list[bytes]:
    """Load the posts of a page, b"" for a deleted one. Without `fill`, also for one that is not cached.

    Stops before FEED_PAGE_BYTES are exceeded, but not before the first post.
    """
    posts: list[bytes] = []
    room = settings().feed_page_bytes
    for start in range(0, len(page.ids), BODY_BATCH):
        ids = page.ids[start : start + BODY_BATCH]
        found = page.bodies[start : start + BODY_BATCH]
        if len(found) < len(ids):
            found += post_bodies.cached(ids[len(found) :])
        missing = [int(post_id) for post_id, body in zip(ids, found, strict=True) if body is None]
        filled = post_bodies.fill(missing) if missing and fill else dict.fromkeys(missing, b"")
        for post_id, body in zip(ids, found, strict=True):
            post = filled[int(post_id)] if body is None else body
            room -= len(post)
            if room < 0 and posts:
                return posts
            posts.append(post)
    return posts


def _read_database(user_id: int, offset: int, limit: int, before: int | None, after: int | None) -> Page:
    cursor = {"offset": offset} if before is None and after is None else {"before": before, "after": after}
    room = settings().feed_page_bytes
    posts, has_more = replica.read_fresh(store.select_newest_posts, user_id, limit, room, **cursor)
    bodies = [post_bodies.to_json(post) for post in posts]
    shown = max(1, sum(total <= room for total in accumulate(map(len, bodies))))
    has_more = has_more or shown < len(bodies) or len(posts) == limit
    return Page(bodies[:shown], posts[shown - 1].id if posts and has_more else None, DATABASE)
