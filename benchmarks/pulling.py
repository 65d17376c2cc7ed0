"""Pulled authors: the cost of their posts and of their readers' pages, compared with pushed ones."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, commit, execute
from app.feed.rebuild import rebuild_author, rebuild_or_raise
from app.redis.client import client
from benchmarks import datasets
from benchmarks.comparison import FLOOR, OURS, Contest, Goal
from benchmarks.delivering import BATCH, CAP, posting
from benchmarks.environment import Stage
from benchmarks.processes import web, worker
from benchmarks.reading import PAGE, check, cost, load
from local.managed_process import Process

POSTS_A_ROUND = 50  # of a pulled author
TICKS = 100  # a second, in /proc


def pull(stage: Stage) -> Iterator[Contest]:
    """Measure posts with 100,000 followers and pages with 200 followees, pulled and pushed."""
    yield from _posts(stage)
    yield from _pages(stage)


def _posts(stage: Stage) -> Iterator[Contest]:
    """Measure milliseconds from a post's event until all readers see it, and processor time."""
    followers = datasets.LARGE // (10 if stage.quick else 1)
    # Not more than the threshold, so that the pushed stays so; nor fewer than 80 % of it, so that the pulled does.
    settings = replace(stage.settings("by_follower_count", datasets.by_follower_count), feed_pull_followers=followers)
    author, queue = datasets.AUTHOR_OF[datasets.LARGE], stage.queue("feed")
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        datasets.fill_feeds([datasets.user(number) for number in range(followers)], CAP)
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
        return (
            posting(stage, process, queue, datasets.AUTHOR_OF[datasets.LARGE], messages, posts=posts, clock=clock) * 1e3
        )

    return measure


def _pages(stage: Stage) -> Iterator[Contest]:
    """Microseconds of the first page, the server being busy all the time."""
    with stage.app(stage.settings("pulled_groups", datasets.pulled_groups)):
        _have_pulled([author for number in datasets.STARS for author in datasets.authors_of_stars(number)[:number]])
        tokens = {}
        for number in (0, *datasets.STARS):
            for reader in datasets.readers_of_stars(number):
                rebuild_or_raise(reader)
            tokens[number] = [issue_token(reader) for reader in datasets.readers_of_stars(number)]
    with web(stage.settings("pulled_groups"), stage.folder) as url:
        for number in datasets.STARS:
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
    execute(POSTS, text("DELETE FROM pulled_authors"))
    for author_id in author_ids:
        execute(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author_id})
    commit()
    for author_id in author_ids:
        rebuild_author(author_id)
    commit()


def _busy(process: Process) -> float:
    """Return the processor seconds used by the worker, with its forks, and Redis."""
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
