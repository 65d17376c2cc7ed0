"""Reading while a post goes to 100,000 followers."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from statistics import quantiles
from threading import Event

from flask import Flask
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from app.auth.tokens import issue_token
from app.feed.rebuild import rebuild_or_raise
from benchmarks import datasets, delivering
from benchmarks.comparison import FLOOR, OURS, Contest, Goal, Measure
from benchmarks.environment import Stage
from benchmarks.load import latencies, rate
from benchmarks.processes import web, worker
from benchmarks.reading import PAGE, check

READERS = 64
SECONDS, QUICK_SECONDS = 5, 2  # of a load
EVERY_SECOND, WITHOUT_PAUSE = 1.0, 0.0  # between the beginnings of two posts
NICE = 19  # beside the default


def read_busy(stage: Stage) -> Iterator[Contest]:
    """Measure reads and their latency while posts are delivered, against the same without deliveries."""
    settings = stage.settings("village_and_crowd", _village_and_crowd)
    followers = _followers(stage.quick)
    queue, seconds = stage.queue("feed"), QUICK_SECONDS if stage.quick else SECONDS
    stage.queue("bulk")
    with stage.app(settings) as app, web(settings, stage.folder) as url:
        datasets.fill_feeds([datasets.user(number) for number in range(READERS, followers)], 1_000)
        readers = [datasets.user(number) for number in range(READERS)]
        for reader in readers:
            rebuild_or_raise(reader)
        tokens = [issue_token(reader) for reader in readers]
        check(url + PAGE, tokens[0])

        def reads() -> float:
            return rate(url + PAGE, tokens, seconds, stage.folder)

        def during(measure: Measure, every: float) -> Measure:
            def run() -> float:
                with _posting(stage, app, queue, followers, every):
                    return measure()

            return run

        half = reads() / 2

        def p99() -> float:
            return quantiles(latencies(url + PAGE, tokens, half, seconds), n=100)[98] * 1e3

        for nice in (settings.worker_nice, NICE):
            with worker(replace(settings, worker_nice=nice), stage.folder):
                sides = {OURS: during(reads, WITHOUT_PAUSE), FLOOR: reads}
                name = f"read a page, deliveries without a pause, WORKER_NICE={nice}"
                yield Contest("requests/s", sides, [Goal(name, "≥", (0.5,), FLOOR)])
                sides = {OURS: during(p99, EVERY_SECOND), FLOOR: p99}
                name = f"p99 of {half:.0f} reads/s, a post to {followers} a second, WORKER_NICE={nice}"
                yield Contest("ms", sides, [Goal(name, "≤", (2,), FLOOR)])


def _followers(quick: bool) -> int:
    return datasets.LARGE // (10 if quick else 1)


def _village_and_crowd(cursor: Cursor, quick: bool) -> None:
    datasets.uniform(cursor, quick)
    author = datasets.AUTHOR_NUMBER_OF[datasets.LARGE]
    datasets.insert_follows(cursor, ((follower, author) for follower in range(_followers(quick))))


@contextmanager
def _posting(stage: Stage, app: Flask, queue: str, followers: int, every: float) -> Iterator[None]:
    """Post to all followers, again and again, within the block."""
    ended = Event()

    def run() -> None:
        with app.app_context():
            while not ended.is_set():
                began = time.monotonic()
                delivering.send_and_wait(stage, queue, datasets.AUTHOR_OF[datasets.LARGE], followers)
                ended.wait(began + every - time.monotonic())

    with ThreadPoolExecutor(1) as thread:
        posting = thread.submit(run)
        try:
            yield
        finally:
            ended.set()
        posting.result()
