"""Building feeds from SQL, one by one and all together."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from secrets import token_hex

from app.db import POSTS, commit, db
from app.feed import service, timeline, warming
from app.posts import store
from app.redis import client
from benchmarks import peers, world
from benchmarks.contest import OURS, PEER, Contest, Goal
from benchmarks.processes import WORKER_THREADS, worker
from benchmarks.stage import Stage

CAP = 1000
POLL_SECONDS = 0.02


def average(stage: Stage) -> Iterator[Contest]:
    """Rebuilds a second of users who follow 50 authors, among 4 million follows and 2 million posts."""
    with stage.app(stage.settings("town", world.town)):
        readers = world.TOWN_READERS // (10 if stage.quick else 1)
        users = [world.user(number) for number in Random(world.SEED).sample(range(readers), 100)]
        yield Contest("feeds/s", _sides(users, users), [Goal("rebuild, beside the join", "≥", (1,), PEER)])


def heavy(stage: Stage) -> Iterator[Contest]:
    """Rebuilds a second of a user who follows 500 authors of 5,000 posts each: after a follow and an unfollow in turns,
    and of a cold feed.
    """
    with stage.app(stage.settings("archive", world.archive)):
        user = world.user(0)
        peer = {PEER: lambda: _rate(_rebuild_by_join, [user])}
        changes = [lambda: store.delete_follow(user, world.user(1)), lambda: store.insert_follow(user, world.user(1))]
        for name, before in {
            "rebuild of 500 authors, beside the join": changes * 10,
            "the same of a cold feed": [lambda: timeline.make_cold([user])] * 20,
        }.items():
            sides = {OURS: lambda before=before: _rate_after(before, user), **peer}  # type: ignore[misc]
            yield Contest("feeds/s", sides, [Goal(name, "≥", (20,), PEER)])


def warm(stage: Stage) -> Iterator[Contest]:
    """Feeds a second of `warm-cache` from the request to the last feed, one worker; 20,000 users, 50 followees each,
    with 20 posts each. Beside a program that makes feed by feed with a query and an RPUSH, with as many threads.
    """
    settings = stage.settings("village", world.village)
    people = [world.user(number) for number in range(world.VILLAGERS // (10 if stage.quick else 1))]
    some = Random(world.SEED).sample(people, len(people) // 10)
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
    service.reconcile(user)
    for change in changes:
        change()
        commit()
        seconds += 1 / _rate(_rebuild_all, [user])
    return len(changes) / seconds


def _rebuild_all(users: Sequence[int]) -> None:
    for user in users:
        service.reconcile(user)
        commit()  # as at the end of a message


def _rebuild_by_join(users: Sequence[int]) -> None:
    for user in users:
        peers.rebuild(db.engines[POSTS], client(), user, CAP)


def _rebuild_by_threads(users: Sequence[int]) -> None:
    engine, redis = db.engines[POSTS], client()
    with ThreadPoolExecutor(WORKER_THREADS) as pool:
        list(pool.map(lambda user: peers.rebuild(engine, redis, user, CAP), users))


def warm_all(users: Sequence[int]) -> float:
    """Warm cold feeds. The feeds are made cold before, which is not counted."""
    timeline.make_cold(users)
    run = token_hex(8)
    started = time.perf_counter()
    warming.request(run)
    done: tuple[int, int | None] = (0, None)
    while done[0] != done[1]:
        time.sleep(POLL_SECONDS)
        done = warming.progress(run)
    assert done[0] == len(users), f"{done[0]} feeds were warmed"
    return len(users) / (time.perf_counter() - started)
