"""Invalidates the feeds and bodies of a permanently failed message. Owns the key:

stats:given_up   string   number of permanently failed messages
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from app.feed.cache import post_bodies, timeline
from app.feed.deliver import fanout_plan, follower_batches
from app.feed.live import log
from app.redis.client import client

FAILED_MESSAGES_KEY = "stats:given_up"


def failed_message_count() -> int:
    """Return the number of permanently failed messages, since Redis was last emptied."""
    return int(cast(bytes | None, client().get(FAILED_MESSAGES_KEY)) or 0)


def invalidate_after_failure(named: Mapping[str, Any]) -> None:
    """Invalidate these feeds and bodies, by the names of INVALIDATORS. The next read rebuilds them."""
    for name, value in named.items():
        INVALIDATORS[name](value)
    client().incr(FAILED_MESSAGES_KEY)


def _evict_followers(author_id: int) -> None:
    """Evict the author's own list, and the feeds of all followers."""
    timeline.AUTHOR.evict([author_id])
    for batch in follower_batches(author_id, fanout_plan(author_id).first):
        _evict(batch)


def _evict(user_ids: Sequence[int]) -> None:
    timeline.HOME.evict(user_ids)
    log.append(log.CHANGED, reader_ids=user_ids)


def _drop_body(post_id: int) -> None:
    post_bodies.drop(post_id)
    log.append(log.EDITED, post_id=post_id)


INVALIDATORS: dict[str, Callable[[Any], None]] = {
    "post_id": _drop_body,
    "author_id": _evict_followers,
    "follower_id": lambda user_id: _evict([user_id]),
    "follower_ids": _evict,
    "user_ids": _evict,
}
