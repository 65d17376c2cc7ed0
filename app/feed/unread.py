"""Counts the posts of a feed that are newer than the read mark.

The count is what the pages of the feed show: from Redis if its list can be trusted that far, after a rebuild if the
feed is cold, or else from SQL. It ends at FEED_CAP.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from app.db import replica
from app.feed import lua, store
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import END_MARK
from app.feed.hybrid import merge
from app.feed.maintenance import trust
from app.feed.read import CACHE, DATABASE, MAX_ATTEMPTS, REBUILT
from app.posts import seen
from app.redis.circuit_breaker import attempt
from app.redis.client import is_cluster
from app.settings import settings

FEW = 50  # ids read of each list first if lists are merged: most readers have read almost everything


class Count(NamedTuple):
    """A number of posts, at most FEED_CAP, and its source as of a page."""

    number: int
    source: str

    @property
    def is_capped(self) -> bool:
        """Return whether the count ended at the cap, so that there may be more."""
        return self.number == settings().feed_cap


@dataclass(frozen=True)
class Found:
    """Result of counting in lists: how many ids are newer, and which may be deleted.

    `known` is false if they cannot answer, as of a page.
    """

    number: int
    doubtful: list[int]
    known: bool
    cold: bool
    pulled: list[int] = field(default_factory=list)


def count_unread(user_id: int) -> tuple[Count, int | None]:
    """Count the posts newer than the user's read mark. Returns the read mark, too; without one all posts count."""
    read_up_to = replica.read_primary(seen.of_user, user_id)
    return count_newer(user_id, read_up_to), read_up_to


def count_newer(user_id: int, after: int | None) -> Count:
    """Count the posts of a feed that are newer than a post, or all."""
    count = attempt(partial(_count_trusted, user_id, after), None, "unread posts are counted by SQL")
    return count or _count_in_database(user_id, after)


def _count_trusted(user_id: int, after: int | None) -> Count | None:
    """Count in Redis. None if a connection may lead to a server that lost writes."""
    count = _count_cached(user_id, after)
    return count if count and trust.is_trusted() else None


def _count_cached(user_id: int, after: int | None) -> Count | None:
    """Return None where a page would come from SQL. Deleted posts are taken out of the lists, as by a page."""
    source = CACHE
    for _ in range(MAX_ATTEMPTS):
        found, missing = _in_list(user_id, after), merge.Missing([], own=True)
        if found.pulled:
            found, missing = _in_lists(user_id, found.pulled, after)
        if not found.known and not found.cold and after is not None:
            return None
        if not found.known:
            if not merge.build(user_id, missing):
                return None
            source = REBUILT
            continue
        dead = _deleted_among(found.doubtful)
        if not dead:
            return Count(found.number, source)
        timeline.HOME.remove([user_id], dead)
        timeline.AUTHOR.remove(found.pulled, dead)
    return None


def _in_list(user_id: int, after: int | None) -> Found:
    """Count in a reader's own list, in one round trip. On a Cluster bodies take another."""
    cap, prefix = settings().feed_cap, "" if is_cluster() else post_bodies.PREFIX
    arguments = [after or 0, cap, settings().feed_ttl, prefix]
    [(number, ids, last)] = lua.run("unread", [([timeline.HOME.key(user_id)], arguments)])
    if last != END_MARK and last[:1] == END_MARK:
        return Found(0, [], known=False, cold=False, pulled=timeline.pulled_authors_from_mark(last))
    doubtful = list(map(int, ids)) if prefix else post_bodies.doubtful(ids)
    return Found(number, doubtful, known=last == END_MARK or number == cap, cold=not last)


def _in_lists(user_id: int, pulled: list[int], after: int | None) -> tuple[Found, merge.Missing]:
    """Count in the lists of a reader and of pulled authors, merged."""
    cap = settings().feed_cap
    for limit in sorted({min(FEW, cap), cap}):
        page, missing = merge.page(user_id, pulled, 0, limit, after=after)
        if page.known and len(page.ids) < limit:
            break
    doubtful = post_bodies.doubtful(page.ids) if page.known else []
    return Found(len(page.ids), doubtful, page.known, page.cold, pulled), missing


def _deleted_among(post_ids: list[int]) -> list[int]:
    """Return those of these posts that SQL does not have."""
    if not post_ids:
        return []
    existing = replica.read_primary(store.select_existing, post_ids)
    return [post_id for post_id in post_ids if post_id not in existing]


def _count_in_database(user_id: int, after: int | None) -> Count:
    return Count(replica.read_fresh(store.count_newer, user_id, settings().feed_cap, after or 0), DATABASE)
