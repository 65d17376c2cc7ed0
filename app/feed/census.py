"""All feeds together, counted: in Redis, or in a sample of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app.db import commit
from app.feed import follows, timeline
from app.redis import client

BATCH = 1000


@dataclass(frozen=True)
class Measured:
    user_id: int
    posts: int
    complete: bool
    size: int


@dataclass
class Census:
    """What was counted so far. `share` is how much of Redis was looked at; the figures are of that share."""

    cached: int = 0
    complete: int = 0
    readers: int = 0  # of the cached: who follow somebody
    posts: int = 0
    size: int = 0  # bytes
    share: float = 1.0

    def cold(self, readers: int) -> int:
        """How many of all who follow somebody have no feed; an estimate where not all was looked at."""
        return max(0, readers - round(self.readers / self.share))


def take(sample: int | None = None, *, with_readers: bool = True) -> Iterator[Census]:
    """Count all feeds, or `sample` of them; yields the census so far. Without readers SQL is not asked."""
    census = Census()
    users: Iterator[int] = timeline.cached_users()
    if sample is not None:
        first, census.share = timeline.sampled_users(sample)
        users = iter(first)
    seen: set[int] = set()
    while batch := list(islice(users, BATCH)):
        fresh = set(batch) - seen
        seen |= fresh
        feeds = measure(list(fresh))
        _add(census, feeds)
        if with_readers:
            census.readers += follows.count_followers_among([feed.user_id for feed in feeds])
            commit()
        yield census
    yield census


def measure(user_ids: Sequence[int]) -> list[Measured]:
    """Of each of these feeds that has a list: how many posts it holds, whether it is complete, and its bytes."""
    with client().pipeline(transaction=False) as pipe:
        for user_id in user_ids:
            pipe.llen(timeline.feed_key(user_id))
            pipe.lindex(timeline.feed_key(user_id), -1)
            pipe.memory_usage(timeline.feed_key(user_id))
        answers = iter(pipe.execute())
    feeds = zip(user_ids, zip(answers, answers, answers, strict=True), strict=True)
    return [
        Measured(user_id, elements - last.startswith(timeline.END), timeline.is_complete(last), size or 0)
        for user_id, (elements, last, size) in feeds
        if last
    ]


def _add(census: Census, feeds: Sequence[Measured]) -> None:
    census.cached += len(feeds)
    census.complete += sum(feed.complete for feed in feeds)
    census.posts += sum(feed.posts for feed in feeds)
    census.size += sum(feed.size for feed in feeds)
