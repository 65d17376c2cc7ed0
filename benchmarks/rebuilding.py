"""Building feeds from SQL, one by one and all together."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from secrets import token_hex

from app.db.engine import POSTS, commit, db
from app.feed.cache import timeline
from app.feed.maintenance import warm as warming
from app.feed.rebuild import rebuild_or_raise
from app.posts import store
from app.redis.client import client
from benchmarks import alternatives, datasets
from benchmarks.comparison import OURS, PEER, Contest, Goal
from benchmarks.environment import Stage
from benchmarks.processes import WORKER_THREADS, worker

CAP = 1000
POLL_SECONDS = 0.02


def average(stage: Stage) -> Iterator[Contest]:
    """Measure rebuilds a second of users with 50 followees, among 4 million follows."""
    with stage.app(stage.settings("many_followees", datasets.many_followees)):
        readers = datasets.TOWN_READERS // (10 if stage.quick else 1)
        users = [datasets.user(number) for number in Random(datasets.SEED).sample(range(readers), 100)]
        yield Contest("feeds/s", _sides(users, users), [Goal("rebuild, beside the join", "≥", (1,), PEER)])


def heavy(stage: Stage) -> Iterator[Contest]:
    """Measure rebuilds a second of a user with 500 followees of 5,000 posts each.

    They follow a follow and an unfollow in turns, or start from a cold feed.
    """
    with stage.app(stage.settings("deep_history", datasets.deep_history)):
        user = datasets.user(0)
        peer = {PEER: lambda: _rate(_rebuild_by_join, [user])}
        changes = [
            lambda: store.delete_follow(user, datasets.user(1)),
            lambda: store.insert_follow(user, datasets.user(1)),
        ]
        for name, before in {
            "rebuild of 500 authors, beside the join": changes * 10,
            "the same of a cold feed": [lambda: timeline.HOME.evict([user])] * 20,
        }.items():
            sides = {OURS: lambda before=before: _rate_after(before, user), **peer}  # type: ignore[misc]
            yield Contest("feeds/s", sides, [Goal(name, "≥", (20,), PEER)])


def warm(stage: Stage) -> Iterator[Contest]:
    """Measure feeds a second of `warm-cache` with one worker.

    The network has 20,000 users with 50 followees and 20 posts each. The alternative runs a query and an RPUSH per
    feed, in as many threads.
    """
    settings = stage.settings("uniform", datasets.uniform)
    people = [datasets.user(number) for number in range(datasets.VILLAGERS // (10 if stage.quick else 1))]
    some = Random(datasets.SEED).sample(people, len(people) // 10)
    _ = stage.broker  # the worker needs it
    with stage.app(settings), worker(settings, stage.folder):
        sides = {OURS: lambda: warm_all(people), PEER: lambda: _rate(_rebuild_by_threads, some)}
        yield Contest("feeds/s", sides, [Goal("warm-cache, beside feed by feed", "≥", (2.5, 5), PEER)])


def _sides(ours: Sequence[int], peers_: Sequence[int]) -> dict[str, Callable[[], float]]:
    return {OURS: lambda: _rate(_rebuild_all, ours), PEER: lambda: _rate(_rebuild_by_join, peers_)}


def _rate(build: Callable[[Sequence[int]], None], users: Sequence[int]) -> float:
    started = time.perf_counter()
    build(users)
    return len(users) / (time.perf_counter() - started)


def _rate_after(changes: Sequence[Callable[[], object]], user: int) -> float:
    """Rebuilds a second, one after each of these changes, which are not counted."""
    seconds = 0.0
    rebuild_or_raise(user)
    for change in changes:
        change()
        commit()
        seconds += 1 / _rate(_rebuild_all, [user])
    return len(changes) / seconds


def _rebuild_all(users: Sequence[int]) -> None:
    for user in users:
        rebuild_or_raise(user)
        commit()  # as at the end of a message


def _rebuild_by_join(users: Sequence[int]) -> None:
    for user in users:
        alternatives.rebuild(db.engines[POSTS], client(), user, CAP)


def _rebuild_by_threads(users: Sequence[int]) -> None:
    engine, redis = db.engines[POSTS], client()
    with ThreadPoolExecutor(WORKER_THREADS) as pool:
        list(pool.map(lambda user: alternatives.rebuild(engine, redis, user, CAP), users))


def warm_all(users: Sequence[int]) -> float:
    """Warm cold feeds. The feeds are made cold before, which is not counted."""
    timeline.HOME.evict(users)
    run = token_hex(8)
    started = time.perf_counter()
    warming.request(run)
    done: tuple[int, int | None] = (0, None)
    while done[0] != done[1]:
        time.sleep(POLL_SECONDS)
        done = warming.progress(run)
    assert done[0] == len(users), f"{done[0]} feeds were warmed"
    return len(users) / (time.perf_counter() - started)
