"""Feed counts and sizes, exact or estimated from a sample. Owns the keys:

stats:feeds      string   StoredCount in JSON, for KEPT_SECONDS
stats:counting   string   lock of the worker that counts, for COUNT_INTERVAL_SECONDS
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from time import time
from typing import cast

from app.db.engine import commit
from app.feed.cache import cached_users, timeline
from app.posts import follows
from app.redis.client import client

BATCH = 1000
FEEDS_KEY, COUNTING_KEY = "stats:feeds", "stats:counting"
COUNT_INTERVAL_SECONDS = 60
KEPT_SECONDS = 600
SAMPLE = 5000  # feeds to count; with more feeds, their number is an estimate


@dataclass(frozen=True)
class FeedSize:
    user_id: int
    posts: int
    complete: bool
    size: int


@dataclass
class FeedCounts:
    """Counts so far. They cover the `share` of Redis that was scanned."""

    cached: int = 0
    complete: int = 0
    readers: int = 0  # cached feeds whose user follows at least one author
    posts: int = 0
    size: int = 0  # bytes
    share: float = 1.0

    def cold(self, readers: int) -> int:
        """Return the number of readers without a feed, an estimate if `share` is below 1."""
        return max(0, readers - round(self.readers / self.share))


@dataclass(frozen=True)
class StoredCount:
    """The stored result of a count: feeds in Redis, and their average size in bytes."""

    feeds: int
    feed_bytes: float
    timestamp: float


def count(sample: int | None = None, *, with_readers: bool = True) -> Iterator[FeedCounts]:
    """Count all feeds, or `sample` of them. Yields the counts so far; without readers no SQL is run."""
    counted = FeedCounts()
    users: Iterator[int] = cached_users.scan()
    if sample is not None:
        first, counted.share = cached_users.sample(sample)
        users = iter(first)
    seen: set[int] = set()
    while batch := list(islice(users, BATCH)):
        fresh = set(batch) - seen
        seen |= fresh
        feeds = measure(list(fresh))
        _add(counted, feeds)
        if with_readers:
            counted.readers += follows.count_followers_among([feed.user_id for feed in feeds])
            commit()
        yield counted
    yield counted


def measure(user_ids: Sequence[int]) -> list[FeedSize]:
    """Measure these feeds: posts, completeness and bytes. Cold feeds are left out."""
    with client().pipeline(transaction=False) as pipe:
        for user_id in user_ids:
            pipe.llen(timeline.HOME.key(user_id))
            pipe.lindex(timeline.HOME.key(user_id), -1)
            pipe.memory_usage(timeline.HOME.key(user_id))
        answers = iter(pipe.execute())
    feeds = zip(user_ids, zip(answers, answers, answers, strict=True), strict=True)
    return [
        FeedSize(user_id, elements - last.startswith(timeline.END_MARK), timeline.is_complete(last), size or 0)
        for user_id, (elements, last, size) in feeds
        if last
    ]


def _add(counted: FeedCounts, feeds: Sequence[FeedSize]) -> None:
    counted.cached += len(feeds)
    counted.complete += sum(feed.complete for feed in feeds)
    counted.posts += sum(feed.posts for feed in feeds)
    counted.size += sum(feed.size for feed in feeds)


def count_feeds() -> bool:
    """Count all feeds unless another worker did within COUNT_INTERVAL_SECONDS. Returns whether it counted."""
    if not client().set(COUNTING_KEY, 1, nx=True, ex=COUNT_INTERVAL_SECONDS):
        return False
    *_, taken = count(SAMPLE, with_readers=False)
    stored = StoredCount(round(taken.cached / taken.share), taken.size / taken.cached if taken.cached else 0.0, time())
    client().set(FEEDS_KEY, json.dumps(asdict(stored)), ex=KEPT_SECONDS)
    return True


def last_count() -> StoredCount | None:
    """Return the last count, or None."""
    found = cast(bytes | None, client().get(FEEDS_KEY))
    return StoredCount(**json.loads(found)) if found else None
