"""Feeds in Redis, without broker and SQL: how fast posts go in, and how much memory they take."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from app.feed.cache import timeline
from app.redis.client import client
from benchmarks import datasets
from benchmarks.alternatives import SortedSets
from benchmarks.comparison import OURS, PEER, Contest, Goal
from benchmarks.environment import Stage

FEEDS, QUICK_FEEDS = 10_000, 1_000
ENTRIES = 1_000
POSTS_A_ROUND = 5
PUSHED_LATER = 50  # posts that come one by one after a feed was built: a list in use is not as tight as a new one


def push(stage: Stage) -> Iterator[Contest]:
    """Measure pushes a second into 10,000 full feeds by one client, against sorted sets."""
    settings = stage.settings("nothing")
    users = [datasets.user(number) for number in range(QUICK_FEEDS if stage.quick else FEEDS)]
    with stage.app(settings):
        datasets.fill_feeds(users, ENTRIES)
        sets = SortedSets(client(), ENTRIES)
        sets.fill(users[0], datasets.newest_posts(ENTRIES))
        datasets.copy_key(sets.key(users[0]), [sets.key(user) for user in users[1:]])
        sides = {OURS: _pushing(timeline.HOME.push, users), PEER: _pushing(sets.push, users)}
        yield Contest("posts/s", sides, [Goal("push into feeds, beside sorted sets", "≥", (3,), PEER)])


def memory(stage: Stage) -> Iterator[Contest]:
    """Measure bytes per entry of 10,000 feeds of 1000 entries, keys included.

    A round builds 2,000 more feeds as a rebuild does, then pushes some posts to them.
    """
    users = 200 if stage.quick else 2_000
    with stage.app(stage.settings("nothing")):
        sets = SortedSets(client(), ENTRIES)
        sides = {OURS: _filling(_build, timeline.HOME.push, users), PEER: _filling(sets.fill, sets.push, users)}
        goals = [
            Goal("memory of an entry", "≤", (11,), None),
            Goal("memory of an entry, beside sorted sets", "≤", (0.1,), PEER),
        ]
        yield Contest("bytes", sides, goals)


def _pushing(push_: Callable[[Sequence[int], int], object], users: Sequence[int]) -> Callable[[], float]:
    numbers = count(ENTRIES)

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(POSTS_A_ROUND):
            push_(users, datasets.post(next(numbers)))
        return POSTS_A_ROUND * len(users) / (time.perf_counter() - started)

    return measure


def _build(user_id: int, post_ids: Sequence[int]) -> None:
    lease = timeline.HOME.acquire(user_id)
    assert lease is not None
    timeline.HOME.commit(user_id, lease, post_ids)


def _filling(
    fill: Callable[[int, Sequence[int]], None], push_: Callable[[Sequence[int], int], object], number: int
) -> Callable[[], float]:
    starts = count(step=number)

    def measure() -> float:
        start, before = next(starts), _used()
        users = [datasets.user(start + place) for place in range(number)]
        for user in users:
            fill(user, datasets.newest_posts(ENTRIES))
        for later in range(PUSHED_LATER):
            push_(users, datasets.post(ENTRIES + later))
        return (_used() - before) / number / ENTRIES

    return measure


def _used() -> int:
    return int(client().info("memory")["used_memory"])  # type: ignore[index]
