"""Writing a post over HTTP, and the time until all followers see it."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import median
from urllib.parse import urlsplit

import dramatiq
from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import POSTS as DATABASE
from app.db.engine import after_commit, commit, execute
from app.feed.cache import timeline
from app.posts import service
from app.redis.client import client
from benchmarks import datasets
from benchmarks.comparison import FLOOR, OURS, Contest, Goal
from benchmarks.environment import Stage
from benchmarks.processes import web, worker

POSTS, QUICK_POSTS = 100, 20  # in a round
SAMPLES = 20  # in a round
QUIET_SECONDS = 0.05  # between two samples
POLL_SECONDS = 0.0002
PATIENCE_SECONDS = 30


def publish(stage: Stage) -> Iterator[Contest]:
    """Measure POST /post/create by an author with 100,000 followers against one with 10.

    No worker runs, so that this is the request alone: what follows it is measured elsewhere.
    """
    settings = stage.settings("by_follower_count", datasets.by_follower_count)
    number = QUICK_POSTS if stage.quick else POSTS
    with stage.app(settings):
        datasets.fill_feeds([datasets.user(0)], 1)  # on an empty Redis the start-up hook would ask for warming
        tokens = {size: issue_token(datasets.AUTHOR_OF[size]) for size in (datasets.LARGE, datasets.TINY)}
    with web(settings, stage.folder) as url:
        sides = {
            OURS: lambda: _post_time(url, tokens[datasets.LARGE], number),
            FLOOR: lambda: _post_time(url, tokens[datasets.TINY], number),
        }
        yield Contest("ms", sides, [Goal("post with 100 000 followers, beside 10", "≤", (1.1,), FLOOR)])
    with stage.app(settings):  # or the next worker on these databases delivers them all
        execute(DATABASE, text("TRUNCATE outbox"))
        commit()


def visible(stage: Stage) -> Iterator[Contest]:
    """Measure the median time from a commit until the post is in 1,000 feeds.

    Beside a confirmed message to an empty actor of the same worker, from before it is sent to when the actor ran.
    """
    settings = stage.settings("by_follower_count", datasets.by_follower_count)
    users = [datasets.user(number) for number in range(datasets.SMALL)]
    stage.queue("feed")
    echo = stage.queue("echo")
    with stage.app(settings), worker(settings, stage.folder):
        datasets.fill_feeds(users, 1_000)
        sides = {
            OURS: sampled(lambda: until_visible(datasets.AUTHOR_OF[datasets.SMALL], users[-1])),
            FLOOR: sampled(lambda: _round_trip(stage, echo)),
        }
        yield Contest("ms", sides, [Goal("commit to visible, beside a message", "≤", (4,), FLOOR)])


def _post_time(url: str, token: str, number: int) -> float:
    headers = {"X-Auth": token, "Content-Type": "application/json"}
    times = []
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        for n in range(number):
            body = json.dumps({"text": datasets.TEXT.format(n)})
            started = time.perf_counter()
            connection.request("POST", "/post/create", body, headers)
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - started)
            assert answer.status == 200, f"the answer is {answer.status}"
    return median(times) * 1e3


def sampled(measure: Callable[[], float]) -> Callable[[], float]:
    def sample() -> float:
        seconds = []
        for _ in range(SAMPLES):
            time.sleep(QUIET_SECONDS)
            seconds.append(measure())
        return median(seconds) * 1e3

    return sample


def until_visible(author: int, last_follower: int) -> float:
    """Seconds from a commit until the post is in the feed of this follower."""
    committed: list[float] = []
    after_commit(lambda: committed.append(time.perf_counter()))  # before the relay is woken
    post_id = service.publish(author, "hello")
    key, expected = timeline.HOME.key(last_follower), str(post_id).encode()
    return _wait(lambda: client().lindex(key, 0) == expected, committed[0])


def _round_trip(stage: Stage, queue: str) -> float:
    key = "bench:echo"
    client().delete(key)
    message = dramatiq.Message(queue_name=queue, actor_name="echo", args=(key,), kwargs={}, options={})
    started = time.perf_counter()
    stage.broker.enqueue(message)
    return _wait(lambda: bool(client().exists(key)), started)


def _wait(condition: Callable[[], bool], since: float) -> float:
    """Seconds from `since` until it holds."""
    while not condition():
        if time.perf_counter() - since > PATIENCE_SECONDS:
            raise TimeoutError(f"not seen for {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - since
