"""Pulled authors: what their posts cost beside pushed ones, and what their readers' pages cost beside others'."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from app.auth import issue_token
from app.db import POSTS, commit, run
from app.feed import authored, service
from app.redis import client
from benchmarks import world
from benchmarks.contest import FLOOR, OURS, Contest, Goal
from benchmarks.delivering import BATCH, CAP, posting
from benchmarks.processes import web, worker
from benchmarks.reading import PAGE, check, cost, load
from benchmarks.stage import Stage
from local.process import Process

POSTS_A_ROUND = 50  # of a pulled author
TICKS = 100  # a second, in /proc


def pull(stage: Stage) -> Iterator[Contest]:
    """A post to 100,000 followers, pulled beside pushed; a page of who follows 200 authors, some of them pulled."""
    yield from _posts(stage)
    yield from _pages(stage)


def _posts(stage: Stage) -> Iterator[Contest]:
    """Milliseconds from the event of a post to when all have it on their page, by one worker process; and how long that
    and Redis keep a processor busy. PostgreSQL is not counted.
    """
    followers = world.LARGE // (10 if stage.quick else 1)
    # Not more than the threshold, so that the pushed stays so; nor fewer than 80 % of it, so that the pulled does.
    settings = replace(stage.settings("crowds", world.crowds), feed_pull_followers=followers)
    author, queue = world.AUTHOR_OF[world.LARGE], stage.queue("feed")
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        world.fill_feeds([world.user(number) for number in range(followers)], CAP)
        for unit, goal, clock in (
            ("ms", "a post to 100 000, pulled, beside pushed", time.perf_counter),
            ("processor ms", "the same, processor", lambda: _busy(process)),
        ):
            sides = {
                OURS: _posting(stage, process, queue, [author], 1, POSTS_A_ROUND, clock),
                FLOOR: _posting(stage, process, queue, [], 1 + -(-followers // BATCH), 1, clock),
            }
            yield Contest(unit, sides, [Goal(goal, "≤", (0.1,), FLOOR)])


def _posting(
    stage: Stage,
    process: Process,
    queue: str,
    pulled: Sequence[int],
    messages: int,
    posts: int,
    clock: Callable[[], float],
) -> Callable[[], float]:
    def measure() -> float:
        _have_pulled(pulled)
        return posting(stage, process, queue, world.AUTHOR_OF[world.LARGE], messages, posts=posts, clock=clock) * 1e3

    return measure


def _pages(stage: Stage) -> Iterator[Contest]:
    """Microseconds of the first page, the server being busy all the time."""
    with stage.app(stage.settings("stars", world.stars)):
        _have_pulled([author for number in world.STARS for author in world.authors_of_stars(number)[:number]])
        tokens = {}
        for number in (0, *world.STARS):
            for reader in world.readers_of_stars(number):
                service.reconcile(reader)
            tokens[number] = [issue_token(reader) for reader in world.readers_of_stars(number)]
    with web(stage.settings("stars"), stage.folder) as url:
        for number in world.STARS:
            check(url + PAGE, tokens[number][0])
            sides = {
                OURS: cost(load(stage, url + PAGE, tokens[number])),
                FLOOR: cost(load(stage, url + PAGE, tokens[0])),
            }
            yield Contest(
                "µs", sides, [Goal(f"read a page, {number} pulled, beside none", "≤", (TARGETS[number],), FLOOR)]
            )


TARGETS = {1: 3.0, 10: 5.0, 50: 15.0}


def _have_pulled(author_ids: Sequence[int]) -> None:
    run(POSTS, text("DELETE FROM pulled_authors"))
    for author_id in author_ids:
        run(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author_id})
    commit()
    for author_id in author_ids:
        authored.rebuild(author_id)
    commit()


def _busy(process: Process) -> float:
    """Seconds of a processor that the worker, with all that it forked, and Redis have used."""
    redis = client().info("cpu")
    seconds = float(redis["used_cpu_user"]) + float(redis["used_cpu_sys"])
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == process.pid:  # its group
            seconds += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds
